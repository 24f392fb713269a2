/** A frame as WebGL takes it. */
export type Picture =
  | HTMLVideoElement
  | HTMLCanvasElement
  | OffscreenCanvas
  | HTMLImageElement
  | ImageBitmap
  | ImageData
  | VideoFrame;

/** The full-size steps around a model of coefficients, as WebGL2 shaders. */
export class FullSize {
  /** `onLost` is called when the graphics driver frees the memory. Throws without WebGL2. */
  constructor(onLost?: () => void);

  /** Reduce a frame to planes (3, h, w) in [0, 1], by a ratio in (0, 1] or to a width and height. */
  reduce(frame: Picture, ratio: number | [number, number]): { data: Float32Array; width: number; height: number };

  /** Bring slope and offset, (4, h, w) or (h, w, 4), to full size. Returns RGBA of the frame that was reduced last. */
  finish(A: Float32Array, b: Float32Array, options?: { channelsLast?: boolean }): Uint8ClampedArray;

  /** Free all memory. */
  dispose(): void;
}
