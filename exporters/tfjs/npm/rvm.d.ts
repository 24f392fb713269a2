import type * as TF from "@tensorflow/tfjs";

import type { FullSize, Picture } from "./full_size.js";
import type { FullSizeWebGpu } from "./full_size_webgpu.js";

export type { Picture };

/** A picture; or a float32 tensor (H, W, 3) or (1, H, W, 3), RGB in [0, 1], which a model of coefficients does not take. */
export type Frame = Picture | TF.Tensor3D | TF.Tensor4D;

/** Plays a model frame by frame, and keeps the four recurrent states in between. */
export class Matting {
  /** In (0, 1], or null for the one that brings the longer side of a frame to 512 pixels. */
  downsampleRatio: number | null;

  /** Load a model. `onLost` is called when the graphics driver frees the memory of the shaders. */
  static load(
    tf: typeof TF,
    source: string | TF.io.IOHandler,
    options?: { downsampleRatio?: number | null; onLost?: () => void },
  ): Promise<Matting>;

  /** Take a loaded model, which is disposed of with this object. `stage` is for a model of coefficients. */
  constructor(tf: typeof TF, model: TF.GraphModel, options?: { downsampleRatio?: number | null; stage?: FullSize | FullSizeWebGpu | null });

  /** Foreground (1, H, W, 3), not premultiplied, and opacity (1, H, W, 1), in [0, 1]. They are yours to dispose of. */
  matte(frame: Frame): { fgr: TF.Tensor4D; pha: TF.Tensor4D };

  /** RGBA bytes of the frame's size: the foreground's colour, not premultiplied, and alpha. */
  pixels(frame: Frame): Promise<ImageData>;

  /** Draw the foreground onto a canvas, with alpha as its transparency. On WebGPU, a model of coefficients needs one without a 2D context. */
  draw(frame: Frame, canvas: HTMLCanvasElement | OffscreenCanvas): Promise<void>;

  /** The states after the last frame, finest first. They stay this object's own. */
  get states(): TF.Tensor[];

  /** Forget the frames before: the next is the first of a clip. */
  reset(): void;

  /** Give back all memory. */
  dispose(): void;
}
