import CoreML
import CoreVideo

final class Matting {
    let model: MLModel
    private var states: [String: MLFeatureValue] = [:]

    init(_ url: URL) throws {
        model = try MLModel(contentsOf: MLModel.compileModel(at: url))
        try reset()
    }

    /// Before another clip, or after a cut.
    func reset() throws {
        for (name, description) in model.modelDescription.inputDescriptionsByName where name != "src" {
            guard let constraint = description.multiArrayConstraint else { continue }
            let zeros = try MLMultiArray(shape: constraint.shape, dataType: constraint.dataType)
            for k in 0..<zeros.count { zeros[k] = 0 }
            states[name] = MLFeatureValue(multiArray: zeros)
        }
    }

    /// A frame of the file's size to its foreground and alpha.
    func matte(_ frame: CVPixelBuffer) throws -> (foreground: CVPixelBuffer, alpha: CVPixelBuffer) {
        let outputs = try self.outputs(for: MLFeatureValue(pixelBuffer: frame))
        return (outputs.featureValue(for: "fgr")!.imageBufferValue!, outputs.featureValue(for: "pha")!.imageBufferValue!)
    }

    /// The outputs for a frame as the file takes it. The states go to the next frame.
    func outputs(for src: MLFeatureValue) throws -> MLFeatureProvider {
        var inputs = states
        inputs["src"] = src
        let outputs = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
        for k in 1...4 { states["r\(k)i"] = outputs.featureValue(for: "r\(k)o")! }
        return outputs
    }
}
