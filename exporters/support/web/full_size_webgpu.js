// The full-size steps around a file of coefficients, as WebGPU shaders beside a model that runs on WebGPU. Nothing is read
// back: the model takes the reduced frame from a buffer of the device, and its line goes from there onto a canvas. An ES
// module that imports only full_size.js.
//
//   const stage = new FullSizeWebGpu(device);                    // the model's device
//   const { buffer, width, height } = stage.reduce(frame, 0.25); // floats (3, h, w), for the model
//   stage.draw(A, b, canvas);                                    // the model's buffers; or await stage.pixels(A, b)
//
// A frame is copied into a texture: a video's own texture ends with the task, before the model does.

import { placesOf, sizesOf } from "./full_size.js";

const SHADERS = `
struct Shape { width: u32, height: u32, pixel: u32, channel: u32 } // of images at the internal size; the last two are strides

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var frame: texture_2d<f32>;
@group(0) @binding(2) var<storage, read> columns: array<vec2f>;
@group(0) @binding(3) var<storage, read> rows: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> reduced: array<f32>;
@group(0) @binding(5) var<storage, read> slope: array<f32>;
@group(0) @binding(6) var<storage, read> offset: array<f32>;

/** The pixels of an image between which a pixel lies. */
struct Place { first: vec2u, second: vec2u, share: vec2f }

fn place_of(at: vec2u, size: vec2u) -> Place {
  let column = columns[at.x];
  let row = rows[at.y];
  let first = vec2u(u32(column.x), u32(row.x));
  return Place(first, min(first + 1, size - 1), vec2f(column.y, row.y));
}

fn between(a: vec4f, b: vec4f, c: vec4f, d: vec4f, share: vec2f) -> vec4f {
  return mix(mix(a, b, share.x), mix(c, d, share.x), share.y);
}

@compute @workgroup_size(8, 8)
fn reduce(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= shape.width || id.y >= shape.height) {
    return;
  }
  let p = place_of(id.xy, textureDimensions(frame));
  let colour = between(
    textureLoad(frame, p.first, 0), textureLoad(frame, vec2u(p.second.x, p.first.y), 0),
    textureLoad(frame, vec2u(p.first.x, p.second.y), 0), textureLoad(frame, p.second, 0), p.share);
  let at = (id.y * shape.width + id.x) * shape.pixel;
  reduced[at] = colour.r;
  reduced[at + shape.channel] = colour.g;
  reduced[at + 2 * shape.channel] = colour.b;
}

fn slope_at(x: u32, y: u32) -> vec4f {
  let at = (y * shape.width + x) * shape.pixel;
  let step = shape.channel;
  return vec4f(slope[at], slope[at + step], slope[at + 2 * step], slope[at + 3 * step]);
}

fn offset_at(x: u32, y: u32) -> vec4f {
  let at = (y * shape.width + x) * shape.pixel;
  let step = shape.channel;
  return vec4f(offset[at], offset[at + step], offset[at + 2 * step], offset[at + 3 * step]);
}

fn matte_at(at: vec2u) -> vec4f {
  let src = textureLoad(frame, at, 0).rgb;
  let guide = vec4f(src, (src.r + src.g + src.b) / 3);
  let p = place_of(at, vec2u(shape.width, shape.height));
  let A = between(
    slope_at(p.first.x, p.first.y), slope_at(p.second.x, p.first.y),
    slope_at(p.first.x, p.second.y), slope_at(p.second.x, p.second.y), p.share);
  let b = between(
    offset_at(p.first.x, p.first.y), offset_at(p.second.x, p.first.y),
    offset_at(p.first.x, p.second.y), offset_at(p.second.x, p.second.y), p.share);
  return clamp(A * guide + b, vec4f(0), vec4f(1));
}

@vertex
fn cover(@builtin(vertex_index) index: u32) -> @builtin(position) vec4f {
  return vec4f(vec2f(f32(index % 2), f32(index / 2)) * 4 - 1, 0, 1);
}

@fragment
fn straight(@builtin(position) position: vec4f) -> @location(0) vec4f {
  return matte_at(vec2u(position.xy));
}

@fragment
fn premultiplied(@builtin(position) position: vec4f) -> @location(0) vec4f {
  let matte = matte_at(vec2u(position.xy));
  return vec4f(matte.rgb * matte.a, matte.a);
}
`;

const FORMAT = "rgba8unorm";
const TILE = 8; // see workgroup_size

export class FullSizeWebGpu {
  #device;
  #channelsLast;
  #pipelines;
  #canvases = new WeakMap();
  #images = null;
  #sizes = "";

  /**
   * @param {GPUDevice} device The device on which the model runs.
   * @param {{channelsLast?: boolean}} options Whether the model's images are (h, w, channels) instead of (channels, h, w).
   */
  constructor(device, { channelsLast = false } = {}) {
    this.#device = device;
    this.#channelsLast = channelsLast;
    const module = device.createShaderModule({ code: SHADERS });
    const drawn = (entryPoint) =>
      device.createRenderPipeline({
        layout: "auto",
        vertex: { module, entryPoint: "cover" },
        fragment: { module, entryPoint, targets: [{ format: FORMAT }] },
      });
    this.#pipelines = {
      reduce: device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "reduce" } }),
      straight: drawn("straight"),
      premultiplied: drawn("premultiplied"),
    };
  }

  /**
   * Reduce a frame bilinearly, as PyTorch does, without a filter against aliasing.
   *
   * @param {ImageData | ImageBitmap | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | VideoFrame} frame
   * @param {number | [number, number]} ratio The downsample ratio in (0, 1], or width and height of the internal size.
   * @returns {{buffer: GPUBuffer, width: number, height: number}} Red, green and blue in [0, 1], float32. The buffer is
   *   this object's own, and the next frame overwrites it.
   * @throws {RangeError} The ratio is not in (0, 1], or leaves no pixel.
   */
  reduce(frame, ratio) {
    const sizes = sizesOf(frame, ratio);
    if (this.#sizes !== JSON.stringify(sizes)) {
      this.#free();
      this.#images = this.#allocate(sizes);
      this.#sizes = JSON.stringify(sizes);
    }
    const { frame: texture, colour, down, reduced } = this.#images;
    const [width, height] = sizes.internal;
    this.#device.queue.copyExternalImageToTexture({ source: frame }, { texture }, sizes.size);
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.#pipelines.reduce);
    pass.setBindGroup(0, this.#group("reduce", [colour, texture, ...down, reduced]));
    pass.dispatchWorkgroups(Math.ceil(width / TILE), Math.ceil(height / TILE));
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
    return { buffer: reduced, width, height };
  }

  /**
   * Draw the frame that was reduced last: the foreground's colour, with alpha as the canvas's transparency.
   *
   * @param {GPUBuffer} A The slope, four channels at the internal size, float32.
   * @param {GPUBuffer} b The offset, alike.
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas A canvas without a context, or with one of this object's.
   * @throws {Error} The canvas has a context of another kind.
   */
  draw(A, b, canvas) {
    const { width, height } = this.#images.frame;
    if (canvas.width !== width || canvas.height !== height) {
      Object.assign(canvas, { width, height });
    }
    this.#finish("premultiplied", A, b, this.#contextOf(canvas).getCurrentTexture());
  }

  /**
   * Return the frame that was reduced last as bytes, which are read back.
   *
   * @returns {Promise<Uint8ClampedArray>} RGBA (H, W, 4): the foreground, not premultiplied, and alpha.
   */
  async pixels(A, b) {
    const device = this.#device;
    const { width, height } = this.#images.frame;
    const bytesPerRow = 256 * Math.ceil((4 * width) / 256); // rows of a copy begin at multiples of 256 bytes
    const target = textureOf(device, width, height, GPUTextureUsage.RENDER_ATTACHMENT | GPUTextureUsage.COPY_SRC);
    const buffer = device.createBuffer({ size: bytesPerRow * height, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    try {
      this.#finish("straight", A, b, target);
      const encoder = device.createCommandEncoder();
      encoder.copyTextureToBuffer({ texture: target }, { buffer, bytesPerRow }, [width, height]);
      device.queue.submit([encoder.finish()]);
      await buffer.mapAsync(GPUMapMode.READ);
      const rows = new Uint8Array(buffer.getMappedRange());
      const pixels = new Uint8ClampedArray(4 * width * height);
      for (let row = 0; row < height; row++) {
        pixels.set(rows.subarray(row * bytesPerRow, row * bytesPerRow + 4 * width), 4 * width * row);
      }
      return pixels;
    } finally {
      target.destroy();
      buffer.destroy();
    }
  }

  /** Free all memory, but not the device. The object is of no use afterwards. */
  dispose() {
    this.#free();
  }

  #finish(pipeline, A, b, target) {
    const { frame, line, up } = this.#images;
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: target.createView(), loadOp: "clear", storeOp: "store" }],
    });
    pass.setPipeline(this.#pipelines[pipeline]);
    pass.setBindGroup(0, this.#group(pipeline, [line, frame, ...up, null, A, b]));
    pass.draw(3);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }

  /** Bind textures and buffers in the order of the shaders; null is one that the pipeline does not use. */
  #group(pipeline, resources) {
    const bound = (each) => (each instanceof GPUTexture ? each.createView() : { buffer: each });
    return this.#device.createBindGroup({
      layout: this.#pipelines[pipeline].getBindGroupLayout(0),
      entries: resources.flatMap((each, binding) => (each ? [{ binding, resource: bound(each) }] : [])),
    });
  }

  #contextOf(canvas) {
    if (!this.#canvases.has(canvas)) {
      const context = canvas.getContext("webgpu");
      if (!context) {
        throw new Error("the canvas has a context of another kind; give one of its own to the matte");
      }
      context.configure({ device: this.#device, format: FORMAT, alphaMode: "premultiplied" });
      this.#canvases.set(canvas, context);
    }
    return this.#canvases.get(canvas);
  }

  #allocate({ size, internal, scale }) {
    const area = internal[0] * internal[1];
    const strides = (channels) => (this.#channelsLast ? [channels, 1] : [1, area]);
    const layout = (channels) => this.#filled(GPUBufferUsage.UNIFORM, Uint32Array.of(...internal, ...strides(channels)));
    const places = (to, from, steps) =>
      to.map((side, k) => this.#filled(GPUBufferUsage.STORAGE, placesOf(side, from[k], steps[k])));
    const usage = GPUTextureUsage.COPY_DST | GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.RENDER_ATTACHMENT;
    return {
      frame: textureOf(this.#device, ...size, usage),
      reduced: this.#device.createBuffer({
        size: 16 * Math.ceil((12 * area) / 16), // runtimes expect multiples of 16 bytes
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      }),
      colour: layout(3),
      line: layout(4),
      down: places(internal, size, scale),
      up: places(
        size,
        internal,
        internal.map((side, k) => side / size[k]),
      ),
    };
  }

  #filled(usage, values) {
    const buffer = this.#device.createBuffer({ size: values.byteLength, usage: usage | GPUBufferUsage.COPY_DST });
    this.#device.queue.writeBuffer(buffer, 0, values);
    return buffer;
  }

  #free() {
    Object.values(this.#images ?? {})
      .flat()
      .forEach((each) => each.destroy());
    this.#images = null;
    this.#sizes = "";
  }
}

function textureOf(device, width, height, usage) {
  return device.createTexture({ size: [width, height], format: FORMAT, usage });
}
