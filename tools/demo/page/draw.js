// Draw mattes onto canvases.

const RADIUS = 4; // radius of the blur, in pixels of a reduced picture
const SIDE = 1 / 40; // the radius divided by the longer side, as in `rvm-export matte --background blur`

export function canvasOf(width = 1, height = 1) {
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** A frame and its matte, kept on their own canvases until the next frame. */
export class Matte {
  source = canvasOf();
  cutout = canvasOf();
  #scratch = canvasOf();
  #pixels = null;
  empty = true;

  get width() {
    return this.cutout.width;
  }

  get height() {
    return this.cutout.height;
  }

  /** Foreground and alpha, RGBA. Of a picture there are no colours where it is transparent. */
  get pixels() {
    const { width, height } = this;
    this.#pixels ??= this.cutout.getContext("2d").getImageData(0, 0, width, height).data;
    return this.#pixels;
  }

  /** `frame` is ImageData or an ImageBitmap. The matte is `pixels`, or the cut-out as a `picture`, an ImageBitmap. */
  set(frame, { pixels = null, picture }) {
    put(this.source, frame);
    put(this.cutout, picture ?? new ImageData(pixels, frame.width, frame.height));
    picture?.close();
    this.#pixels = pixels;
    this.empty = false;
  }

  /** Draw a view onto a canvas: `composite` over a background, `alpha`, or `foreground`. */
  draw(canvas, view, background) {
    if (view === "composite") {
      this.#composite(canvas, background);
    } else {
      put(canvas, new ImageData(VIEWS[view](this.pixels), this.width, this.height));
    }
  }

  #composite(canvas, { kind, colour, picture }) {
    const context = fresh(canvas, this.width, this.height);
    if (kind === "colour") {
      context.fillStyle = colour;
      context.fillRect(0, 0, this.width, this.height);
    } else if (kind === "picture" && picture) {
      cover(context, picture, this.width, this.height);
    } else if (kind === "blur") {
      this.#blur(context);
    }
    context.drawImage(this.cutout, 0, 0);
  }

  /** Draw the blurred background without the person, so that no halo of the person's colours surrounds it. */
  #blur(context) {
    const scale = RADIUS / (SIDE * Math.max(this.width, this.height));
    const [width, height] = [this.width, this.height].map((side) => Math.max(Math.round(side * scale), 1));
    const behind = fresh(this.#scratch, this.width, this.height);
    behind.drawImage(this.source, 0, 0);
    behind.globalCompositeOperation = "destination-out";
    behind.drawImage(this.cutout, 0, 0);
    behind.globalCompositeOperation = "source-over";
    const small = canvasOf(width, height);
    const there = small.getContext("2d", { willReadFrequently: true });
    there.imageSmoothingQuality = "high";
    there.drawImage(this.#scratch, 0, 0, width, height);
    there.putImageData(smooth(there.getImageData(0, 0, width, height)), 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(small, 0, 0, this.width, this.height);
  }
}

const VIEWS = {
  alpha(pixels) {
    const image = new Uint8ClampedArray(pixels.length).fill(255);
    for (let k = 0; k < pixels.length; k += 4) {
      image[k] = image[k + 1] = image[k + 2] = pixels[k + 3];
    }
    return image;
  },
  foreground(pixels) {
    const image = new Uint8ClampedArray(pixels);
    for (let k = 3; k < image.length; k += 4) {
      image[k] = 255;
    }
    return image;
  },
};

/** Draw the amplified difference of two alphas of one size. Return its maximum and its mean, in [0, 1]. */
export function drawDifference(canvas, one, other, width, height, amplify) {
  const image = new Uint8ClampedArray(one.length).fill(255);
  let [largest, sum] = [0, 0];
  for (let k = 0; k < one.length; k += 4) {
    const difference = Math.abs(one[k + 3] - other[k + 3]);
    image[k] = image[k + 1] = image[k + 2] = difference * amplify;
    largest = Math.max(largest, difference);
    sum += difference;
  }
  put(canvas, new ImageData(image, width, height));
  return { largest: largest / 255, mean: (4 * sum) / one.length / 255 };
}

/** Put ImageData or an ImageBitmap onto a canvas. */
export function put(canvas, image) {
  if (image instanceof ImageBitmap) {
    fresh(canvas, image.width, image.height).drawImage(image, 0, 0);
  } else {
    resize(canvas, image.width, image.height);
    canvas.getContext("2d").putImageData(image, 0, 0);
  }
}

/** Fill the canvas with a picture: keep its proportions, and cut its edges. */
function cover(context, picture, width, height) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [picture.width * scale, picture.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (width - w) / 2, (height - h) / 2, w, h);
}

function fresh(canvas, width, height) {
  resize(canvas, width, height);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  return context;
}

/** Resize a canvas only if its size differs: resizing clears it and ends a recording of it. */
function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
  }
}

/** Blur by three boxes, nearly a Gaussian, with colours weighted by their opacity. */
function smooth(image) {
  const { width, height, data } = image;
  let planes = [0, 1, 2, 3].map(() => new Float32Array(width * height));
  for (let k = 0; k < width * height; k++) {
    const share = Math.max(data[4 * k + 3] / 255, 1e-3);
    [0, 1, 2].forEach((c) => (planes[c][k] = data[4 * k + c] * share));
    planes[3][k] = share;
  }
  for (let pass = 0; pass < 3; pass++) {
    planes = planes.map((plane) => box(box(plane, width, height, 1, width), height, width, width, 1));
  }
  for (let k = 0; k < width * height; k++) {
    [0, 1, 2].forEach((c) => (data[4 * k + c] = planes[c][k] / planes[3][k]));
    data[4 * k + 3] = 255;
  }
  return image;
}

/** Average over a box along one axis: `length` steps of `step`, for each of `lines` lines that are `next` apart. */
function box(plane, length, lines, step, next) {
  const radius = RADIUS / 2;
  const out = new Float32Array(plane.length);
  for (let line = 0; line < lines; line++) {
    for (let k = 0; k < length; k++) {
      const [from, to] = [Math.max(k - radius, 0), Math.min(k + radius, length - 1)];
      let sum = 0;
      for (let j = from; j <= to; j++) {
        sum += plane[line * next + j * step];
      }
      out[line * next + k * step] = sum / (to - from + 1);
    }
  }
  return out;
}
