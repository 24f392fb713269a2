import CoreML
import Metal

/// The full-size steps around a file of coefficients, as two Metal kernels on textures of the pixel format `.bgra8Unorm`.
/// It needs iOS 16.
final class FullSize {
    /// The model's input, which `reduce` writes.
    let src: MLMultiArray
    private let device: MTLDevice
    private let queue: MTLCommandQueue
    private let kernels: [MTLComputePipelineState]
    private let small: MTLBuffer

    init(_ model: MLModel, on device: MTLDevice) throws {
        let input = model.modelDescription.inputDescriptionsByName["src"]!.multiArrayConstraint!
        let (h, w) = (input.shape[2].intValue, input.shape[3].intValue)
        let half = input.dataType == .float16 // as in files of fp16 and int8; others have floats
        let options = MTLCompileOptions()
        options.preprocessorMacros = ["VALUE": (half ? "half" : "float") as NSString]
        let library = try device.makeLibrary(source: fullSizeKernels, options: options)
        kernels = try ["reduce", "finish"].map {
            try device.makeComputePipelineState(function: library.makeFunction(name: $0)!)
        }
        (self.device, queue) = (device, device.makeCommandQueue()!)
        small = device.makeBuffer(length: 3 * h * w * (half ? 2 : 4), options: .storageModeShared)!
        src = try MLMultiArray(
            dataPointer: small.contents(), shape: input.shape, dataType: input.dataType,
            strides: [3 * h * w, h * w, w, 1].map { NSNumber(value: $0) })
    }

    /// Reduce a frame of the file's full size to `src`. `ratio` is the file's downsample ratio.
    func reduce(_ frame: MTLTexture, ratio: Float) {
        run(0, [frame], [small], layout(src), ratio, width: src.shape[3].intValue, height: src.shape[2].intValue)
    }

    /// Draw the cut-out person, its colours multiplied by its alpha, to a texture of the frame's size.
    func finish(_ frame: MTLTexture, A: MLMultiArray, b: MLMultiArray, to target: MTLTexture) {
        precondition(A.strides == b.strides)
        let line = [A, b].map { array in
            array.withUnsafeBytes { device.makeBuffer(bytes: $0.baseAddress!, length: $0.count)! }
        }
        run(1, [frame, target], line, layout(A), 1, width: frame.width, height: frame.height)
    }

    /// Columns, rows, and the values from row to row and from channel to channel: CoreML may pad its rows.
    private func layout(_ array: MLMultiArray) -> [UInt32] {
        [array.shape[3], array.shape[2], array.strides[2], array.strides[1]].map(\.uint32Value)
    }

    private func run(
        _ kernel: Int, _ textures: [MTLTexture], _ buffers: [MTLBuffer], _ layout: [UInt32], _ ratio: Float,
        width: Int, height: Int
    ) {
        let commands = queue.makeCommandBuffer()!
        let encoder = commands.makeComputeCommandEncoder()!
        encoder.setComputePipelineState(kernels[kernel])
        for (k, texture) in textures.enumerated() { encoder.setTexture(texture, index: k) }
        for (k, buffer) in buffers.enumerated() { encoder.setBuffer(buffer, offset: 0, index: k) }
        encoder.setBytes(layout, length: 16, index: 2)
        encoder.setBytes([ratio], length: 4, index: 3)
        encoder.dispatchThreads(
            MTLSize(width: width, height: height, depth: 1), threadsPerThreadgroup: MTLSize(width: 8, height: 8, depth: 1))
        encoder.endEncoding()
        commands.commit()
        commands.waitUntilCompleted()
    }
}

private let fullSizeKernels = """
#include <metal_stdlib>
using namespace metal;

struct Layout { uint width, height, row, channel; };
struct Place { uint2 first, second; float2 share; };

// The four pixels around a place. Samplers of the hardware have weights of eight bits only.
Place around(float2 at, uint2 size) {
    at = clamp(at, float2(0), float2(size - 1));
    uint2 first = uint2(at);
    return { first, min(first + 1, size - 1), at - float2(first) };
}

float4 mixed(float4 a, float4 b, float4 c, float4 d, float2 share) {
    return mix(mix(a, b, share.x), mix(c, d, share.x), share.y);
}

float4 texel(device const VALUE *line, Layout l, uint x, uint y) {
    device const VALUE *at = line + y * l.row + x;
    return float4(at[0], at[l.channel], at[2 * l.channel], at[3 * l.channel]);
}

float4 between(device const VALUE *line, Layout l, Place p) {
    return mixed(texel(line, l, p.first.x, p.first.y), texel(line, l, p.second.x, p.first.y),
                 texel(line, l, p.first.x, p.second.y), texel(line, l, p.second.x, p.second.y), p.share);
}

kernel void reduce(texture2d<float> frame [[texture(0)]], device VALUE *src [[buffer(0)]],
                   constant Layout &l [[buffer(2)]], constant float &ratio [[buffer(3)]],
                   uint2 at [[thread_position_in_grid]]) {
    Place p = around((float2(at) + 0.5) / ratio - 0.5, uint2(frame.get_width(), frame.get_height()));
    float4 rgb = mixed(frame.read(p.first), frame.read(uint2(p.second.x, p.first.y)),
                       frame.read(uint2(p.first.x, p.second.y)), frame.read(p.second), p.share);
    for (uint c = 0; c < 3; c++) { src[c * l.channel + at.y * l.row + at.x] = VALUE(rgb[c]); }
}

kernel void finish(texture2d<float> frame [[texture(0)]], texture2d<float, access::write> target [[texture(1)]],
                   device const VALUE *A [[buffer(0)]], device const VALUE *b [[buffer(1)]],
                   constant Layout &l [[buffer(2)]], uint2 at [[thread_position_in_grid]]) {
    float3 rgb = frame.read(at).rgb;
    float4 x = float4(rgb, (rgb.r + rgb.g + rgb.b) / 3);
    float2 scale = float2(l.width, l.height) / float2(frame.get_width(), frame.get_height());
    Place p = around((float2(at) + 0.5) * scale - 0.5, uint2(l.width, l.height));
    float4 matte = saturate(between(A, l, p) * x + between(b, l, p));
    target.write(float4(matte.rgb * matte.a, matte.a), at);
}
"""
