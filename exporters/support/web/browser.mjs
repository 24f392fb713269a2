// Start headless Chromium and call functions in its pages, for Node programs that play a model there.

// Software rendering, which every machine has. Frames then take seconds, which would trigger the watchdog.
const SOFTWARE = ["--disable-gpu-watchdog", "--ignore-gpu-blocklist"];
const GPU = {
  wasm: ["--disable-gpu"],
  webgl: ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", ...SOFTWARE],
  webgpu: ["--use-webgpu-adapter=swiftshader", "--enable-unsafe-webgpu", "--enable-features=Vulkan", ...SOFTWARE],
};
const QUIET = ["--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Start Chromium by playwright-core's `chromium`, with what `backend` needs: wasm, webgl or webgpu. */
export async function launch(chromium, executablePath, backend) {
  try {
    return await chromium.launch({
      executablePath,
      args: [...QUIET, ...GPU[backend]],
      chromiumSandbox: process.getuid() !== 0, // root cannot use the sandbox
      handleSIGTERM: false,
    });
  } catch (error) {
    // In Playwright's long message, these lines are Chromium's own output.
    const said = error.message.split("\n").filter((line) => line.startsWith("[pid=") && line.includes("[err] "));
    const last = said.findLast((line) => line.includes(":FATAL:")) ?? said.at(-1) ?? error.message;
    throw new Error(`${executablePath} does not start: ${last.replace(/^\[pid=\d+\]\[err\] /, "")}`);
  }
}

/** Return a promise that fails if the page crashes, throws outside of a call, or logs an error to its console. */
export function troubleOf(page) {
  const trouble = new Promise((_, reject) => {
    page.on("crash", () => reject(new Error("the page crashed")));
    page.on("close", () => reject(new Error("the page was closed, or Chromium ended")));
    page.on("pageerror", (error) => reject(error));
    page.on("console", (message) => {
      if (message.type() === "error") {
        reject(new Error(message.text()));
      } else {
        console.error(message.text());
      }
    });
  });
  trouble.catch(() => {}); // it may fail when nobody waits; the next frame reports it
  return trouble;
}

/** Call a function in the page and return its result. */
export async function inPage(page, trouble, call, argument) {
  try {
    return await Promise.race([trouble, page.evaluate(call, argument)]);
  } catch (error) {
    throw new Error(error.message.replace(/^page\.evaluate: (Error: )?/, ""));
  }
}
