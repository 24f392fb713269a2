import AVFoundation
import CoreVideo

enum MatteError: Error { case noVideo, unreadable(String), noPixels }

/// Call `show` with the alpha of each frame: width * height bytes without padding. The video has the model's size.
func matteVideo(at url: URL, with matting: Matting, show: ([UInt8], Int, Int) throws -> Void) async throws {
    let asset = AVURLAsset(url: url)
    guard let track = try await asset.loadTracks(withMediaType: .video).first else { throw MatteError.noVideo }
    let reader = try AVAssetReader(asset: asset)
    let settings = [kCVPixelBufferPixelFormatTypeKey as String: kCVPixelFormatType_32BGRA]
    let output = AVAssetReaderTrackOutput(track: track, outputSettings: settings)
    reader.add(output)
    guard reader.startReading() else { throw MatteError.unreadable("\(String(describing: reader.error))") }

    try matting.reset()
    while let sample = output.copyNextSampleBuffer() {
        guard let frame = CMSampleBufferGetImageBuffer(sample) else { continue }
        let (_, alpha) = try matting.matte(frame)
        try show(grayBytes(alpha), CVPixelBufferGetWidth(alpha), CVPixelBufferGetHeight(alpha))
    }
    guard reader.status == .completed else { throw MatteError.unreadable("\(String(describing: reader.error))") }
}

/// The pixels of a one-channel buffer, row by row. The buffer may pad each row: its stride is not its width.
func grayBytes(_ buffer: CVPixelBuffer) throws -> [UInt8] {
    precondition(CVPixelBufferGetPixelFormatType(buffer) == kCVPixelFormatType_OneComponent8)
    CVPixelBufferLockBaseAddress(buffer, .readOnly)
    defer { CVPixelBufferUnlockBaseAddress(buffer, .readOnly) }
    guard let base = CVPixelBufferGetBaseAddress(buffer) else { throw MatteError.noPixels }
    let (width, height) = (CVPixelBufferGetWidth(buffer), CVPixelBufferGetHeight(buffer))
    let stride = CVPixelBufferGetBytesPerRow(buffer)
    var bytes = [UInt8](repeating: 0, count: width * height)
    bytes.withUnsafeMutableBytes { target in
        for row in 0..<height {
            memcpy(target.baseAddress! + row * width, base + row * stride, width)
        }
    }
    return bytes
}
