// Draws the matte of a playing video onto a canvas. rvm.js lies in the model's zip file.

import { Matting } from "./rvm.js";

/** Start; the function that is returned stops. `tf` is TensorFlow.js with its backend set. */
export async function start(tf, video, canvas, model = "./model.json") {
  const matting = await Matting.load(tf, model);
  let stopped = false;
  const next = async () => {
    if (stopped) {
      matting.dispose();
      return;
    }
    await matting.draw(video, canvas); // transparent where there is no person
    video.requestVideoFrameCallback(next);
  };
  video.addEventListener("seeked", () => matting.reset()); // another place is another clip
  video.requestVideoFrameCallback(next);
  return () => {
    stopped = true;
  };
}
