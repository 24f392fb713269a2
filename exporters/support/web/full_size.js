// The full-size steps around a file of coefficients, as two WebGL2 shaders. An ES module that imports nothing; it works
// in a page and in a worker. `rvm_model/full_size.py` is the reference that its results are tested against.
//
//   const stage = new FullSize();
//   const { data, width, height } = stage.reduce(frame, 0.25);   // floats (3, h, w), for the model
//   const pixels = stage.finish(A, b);                           // RGBA bytes of the same frame: foreground and alpha
//
// A frame goes to the graphics memory as bytes and the matte comes back as bytes. The places of pixels are computed here, in
// float64: linear sampling by the hardware itself has weights of eight bits only.

const VERTICES = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID % 2, gl_VertexID / 2) * 4.0 - 1.0, 0, 1);
}`;

const SAMPLING = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;

uniform sampler2D columns;
uniform sampler2D rows;
struct Place { ivec2 first; ivec2 second; vec2 share; };

/** The pixels of a texture between which this pixel lies. */
Place placeOf(sampler2D image) {
  vec2 column = texelFetch(columns, ivec2(gl_FragCoord.x, 0), 0).rg;
  vec2 row = texelFetch(rows, ivec2(gl_FragCoord.y, 0), 0).rg;
  ivec2 first = ivec2(column.r, row.r);
  return Place(first, min(first + 1, textureSize(image, 0) - 1), vec2(column.g, row.g));
}

vec4 between(sampler2D image, Place p) {
  vec4 above = mix(texelFetch(image, p.first, 0), texelFetch(image, ivec2(p.second.x, p.first.y), 0), p.share.x);
  vec4 below = mix(texelFetch(image, ivec2(p.first.x, p.second.y), 0), texelFetch(image, p.second, 0), p.share.x);
  return mix(above, below, p.share.y);
}
`;

const REDUCE = `${SAMPLING}
uniform sampler2D frame;
out vec4 reduced;

void main() {
  reduced = between(frame, placeOf(frame));
}`;

const FINISH = `${SAMPLING}
uniform sampler2D frame;
uniform sampler2D slope;
uniform sampler2D offset;
out vec4 matte;

void main() {
  vec3 src = texelFetch(frame, ivec2(gl_FragCoord.xy), 0).rgb;
  vec4 guide = vec4(src, (src.r + src.g + src.b) / 3.0);
  Place p = placeOf(slope);
  matte = clamp(between(slope, p) * guide + between(offset, p), 0.0, 1.0);
}`;

const UNITS = ["frame", "slope", "offset", "columns", "rows"];

export class FullSize {
  #gl;
  #onLost;
  #reduce;
  #finish;
  #textures;
  #small;
  #large;
  #size = [0, 0];
  #internal = [0, 0];

  /**
   * @param {() => void} onLost Called when the graphics driver frees the memory. The object is of no use afterwards.
   * @throws {Error} There is no WebGL2, as in Node, or none that renders floats.
   */
  constructor(onLost = () => {}) {
    const canvas = typeof OffscreenCanvas === "undefined" ? null : new OffscreenCanvas(1, 1);
    const gl = canvas?.getContext("webgl2", { antialias: false, depth: false });
    if (!gl?.getExtension("EXT_color_buffer_float")) {
      throw new Error("there is no WebGL2 here that renders floats; choose a file of mattes instead of coefficients");
    }
    canvas.addEventListener("webglcontextlost", onLost);
    this.#gl = gl;
    this.#onLost = onLost;
    this.#reduce = programOf(gl, REDUCE);
    this.#finish = programOf(gl, FINISH);
    this.#textures = Object.fromEntries(UNITS.map((name, unit) => [name, textureOf(gl, unit)]));
    this.#small = targetOf(gl);
    this.#large = targetOf(gl);
    gl.bindVertexArray(gl.createVertexArray());
  }

  /**
   * Reduce a frame bilinearly, as PyTorch does, without a filter against aliasing.
   *
   * @param {ImageData | ImageBitmap | HTMLVideoElement | HTMLCanvasElement | OffscreenCanvas | VideoFrame} frame
   * @param {number | [number, number]} ratio The downsample ratio in (0, 1], or width and height of the internal size.
   * @returns {{data: Float32Array, width: number, height: number}} Red, green and blue planes (3, h, w) in [0, 1].
   * @throws {RangeError} The ratio is not in (0, 1], or leaves no pixel.
   */
  reduce(frame, ratio) {
    const gl = this.#gl;
    const { size, internal, scale } = sizesOf(frame, ratio);
    [this.#size, this.#internal] = [size, internal];
    this.#bind("frame");
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, frame);
    this.#place(internal, size, scale);
    this.#small.resize(gl.RGBA32F, ...internal);
    const pixels = this.#run(this.#reduce, this.#small, internal, new Float32Array(4 * internal[0] * internal[1]));
    return { data: planesOf(pixels), width: internal[0], height: internal[1] };
  }

  /**
   * Bring the model's line to full size, and apply it to the frame that was reduced last.
   *
   * @param {Float32Array} A The slope, (4, h, w), or (h, w, 4) if `channelsLast`.
   * @param {Float32Array} b The offset, alike.
   * @returns {Uint8ClampedArray} RGBA (H, W, 4): the foreground, not premultiplied, and alpha.
   */
  finish(A, b, { channelsLast = false } = {}) {
    const gl = this.#gl;
    const [width, height] = this.#size;
    for (const [name, values] of [["slope", A], ["offset", b]]) {
      this.#bind(name);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, ...this.#internal, 0, gl.RGBA, gl.FLOAT, channelsLast ? values : pixelsOf(values));
    }
    const scale = this.#internal.map((side, k) => side / this.#size[k]);
    this.#place(this.#size, this.#internal, scale);
    this.#large.resize(gl.RGBA8, width, height);
    return this.#run(this.#finish, this.#large, this.#size, new Uint8ClampedArray(4 * width * height));
  }

  /** Free all memory. The object is of no use afterwards. */
  dispose() {
    this.#gl.canvas.removeEventListener("webglcontextlost", this.#onLost);
    this.#gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #bind(name) {
    this.#gl.activeTexture(this.#gl.TEXTURE0 + UNITS.indexOf(name));
    this.#gl.bindTexture(this.#gl.TEXTURE_2D, this.#textures[name]);
  }

  /** Say where the pixels of one size lie in another. */
  #place(size, sampled, scale) {
    const gl = this.#gl;
    ["columns", "rows"].forEach((name, k) => {
      this.#bind(name);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RG32F, size[k], 1, 0, gl.RG, gl.FLOAT, placesOf(size[k], sampled[k], scale[k]));
    });
  }

  #run(program, target, [width, height], pixels) {
    const gl = this.#gl;
    gl.useProgram(program);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.readPixels(0, 0, width, height, gl.RGBA, pixels instanceof Float32Array ? gl.FLOAT : gl.UNSIGNED_BYTE, pixels);
    return pixels;
  }
}

/** Compile a program that covers its target. */
function programOf(gl, fragments) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, fragments]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = gl.getAttachedShaders(program).map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`a shader does not compile: ${[...logs, gl.getProgramInfoLog(program)].filter(Boolean).join("; ")}`);
  }
  gl.useProgram(program);
  UNITS.forEach((name, unit) => gl.uniform1i(gl.getUniformLocation(program, name), unit));
  return program;
}

function textureOf(gl, unit) {
  const texture = gl.createTexture();
  gl.activeTexture(gl.TEXTURE0 + unit);
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST); // floats have no other
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return texture;
}

/** Return a target to render into. Its size stays until another is asked for. */
function targetOf(gl) {
  const frame = gl.createFramebuffer();
  const buffer = gl.createRenderbuffer();
  let size = "";
  return {
    frame,
    resize(kind, width, height) {
      if (size === `${width}x${height}`) {
        return;
      }
      size = `${width}x${height}`;
      gl.bindRenderbuffer(gl.RENDERBUFFER, buffer);
      gl.renderbufferStorage(gl.RENDERBUFFER, kind, width, height);
      gl.bindFramebuffer(gl.FRAMEBUFFER, frame);
      gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.RENDERBUFFER, buffer);
    },
  };
}

/** Return width and height of a frame, those of its internal size, and the steps of one in the other. Throws RangeError. */
export function sizesOf(frame, ratio) {
  const size = [
    frame.videoWidth ?? frame.displayWidth ?? frame.naturalWidth ?? frame.width,
    frame.videoHeight ?? frame.displayHeight ?? frame.naturalHeight ?? frame.height,
  ];
  const internal = typeof ratio === "number" ? size.map((side) => Math.floor(side * ratio)) : ratio;
  if (!internal.every((side, k) => side >= 1 && side <= size[k])) {
    throw new RangeError(`a frame of ${size.join("x")} cannot be reduced by ${ratio}; give a ratio in (0, 1] that leaves a pixel`);
  }
  return { size, internal, scale: size.map((side, k) => (typeof ratio === "number" ? 1 / ratio : side / internal[k])) };
}

/** Return for each pixel of an axis the pixel before it on the sampled axis, and its distance from there. */
export function placesOf(length, sampled, scale) {
  const places = new Float32Array(2 * length);
  for (let k = 0; k < length; k++) {
    const at = Math.max(scale * (k + 0.5) - 0.5, 0);
    places[2 * k] = Math.min(Math.floor(at), sampled - 1);
    places[2 * k + 1] = at - places[2 * k];
  }
  return places;
}

/** Return the red, green and blue planes of RGBA pixels. */
function planesOf(pixels) {
  const area = pixels.length / 4;
  const planes = new Float32Array(3 * area);
  for (let k = 0; k < area; k++) {
    planes[k] = pixels[4 * k];
    planes[area + k] = pixels[4 * k + 1];
    planes[2 * area + k] = pixels[4 * k + 2];
  }
  return planes;
}

/** Return four planes as RGBA pixels. */
function pixelsOf(planes) {
  const area = planes.length / 4;
  const pixels = new Float32Array(4 * area);
  for (let k = 0; k < area; k++) {
    pixels[4 * k] = planes[k];
    pixels[4 * k + 1] = planes[area + k];
    pixels[4 * k + 2] = planes[2 * area + k];
    pixels[4 * k + 3] = planes[3 * area + k];
  }
  return pixels;
}
