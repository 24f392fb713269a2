/// <reference types="@webgpu/types" />
import type { Picture } from "./full_size.js";

/** The full-size steps around a model of coefficients that runs on WebGPU. Frames, line and matte stay on the device. */
export class FullSizeWebGpu {
  /** `device` is the model's. `channelsLast` for images (h, w, channels), as those of TensorFlow.js. */
  constructor(device: GPUDevice, options?: { channelsLast?: boolean });

  /** Reduce a frame by a ratio in (0, 1] or to a width and height: floats in [0, 1]. The next frame overwrites the buffer. */
  reduce(frame: Picture, ratio: number | [number, number]): { buffer: GPUBuffer; width: number; height: number };

  /** Draw the frame that was reduced last by its slope and offset, onto a canvas without another context. */
  draw(A: GPUBuffer, b: GPUBuffer, canvas: HTMLCanvasElement | OffscreenCanvas): void;

  /** Return the same as RGBA bytes, the foreground not premultiplied. They are read back. */
  pixels(A: GPUBuffer, b: GPUBuffer): Promise<Uint8ClampedArray>;

  /** Free all memory, but not the device. */
  dispose(): void;
}
