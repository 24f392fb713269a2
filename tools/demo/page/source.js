// The source of the frames: the camera, a video, or a picture. Errors are sentences for people.

const CAMERA = {
  NotFoundError: "No camera was found. Connect one and try again, or open a video or a picture.",
  NotAllowedError: "The camera is blocked. Allow it for this page, beside its address, and try again.",
  NotReadableError: "The camera does not answer. Another program may be using it: close that, and try again.",
};

/** Frames of one size: `element` can be drawn, and is `width` by `height`. */
class Source {
  constructor({ element, width, height, name, still = false, stop }) {
    Object.assign(this, { element, width, height, name, still, stop });
  }
}

export async function openCamera() {
  if (!navigator.mediaDevices) {
    throw new Error("A camera needs a secure page: open it at 127.0.0.1 or localhost, or by https.");
  }
  let stream;
  try {
    const video = { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 720 } };
    stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw new Error(CAMERA[error.name] ?? `The camera does not start: ${error.message}`);
  }
  const stop = () => stream.getTracks().forEach((track) => track.stop());
  return playing({ srcObject: stream }, "Camera", stop);
}

/** Open a file, a video or a picture. */
export async function openFile(file) {
  if (file.type.startsWith("image/")) {
    const element = await openPicture(file);
    const { width, height } = element;
    return new Source({ element, width, height, name: file.name, still: true, stop: () => element.close() });
  }
  const src = URL.createObjectURL(file);
  try {
    return await playing({ src, loop: true }, file.name, () => URL.revokeObjectURL(src));
  } catch (error) {
    URL.revokeObjectURL(src);
    throw error;
  }
}

export async function openPicture(file) {
  try {
    return await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name} is no picture that this browser reads. Try a JPEG, PNG or WebP.`);
  }
}

async function playing(properties, name, stop) {
  const video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, ...properties });
  try {
    await video.play();
    if (!video.videoWidth) {
      throw new Error("no pixels");
    }
  } catch {
    stop();
    throw new Error(`${name} is no video that this browser plays. Try an MP4 (H.264) or a WebM.`);
  }
  return new Source({
    element: video,
    width: video.videoWidth,
    height: video.videoHeight,
    name,
    stop() {
      video.pause();
      stop();
      video.removeAttribute("src");
      video.srcObject = null;
    },
  });
}
