// Alpha of a video of the model's size: matte MODEL.mlpackage VIDEO > alpha.gray

import Foundation

let (model, video) = (CommandLine.arguments[1], CommandLine.arguments[2])
let matting = try Matting(URL(fileURLWithPath: model))
try await matteVideo(at: URL(fileURLWithPath: video), with: matting) { alpha, _, _ in
    FileHandle.standardOutput.write(Data(alpha))
}
