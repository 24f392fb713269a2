// Runs a page without a server in Chromium, for tests.

/**
 * Open `html`, call `work(page)`, and print its result as a line of JSON, with the page's errors as `trouble`.
 * `answer(path)` gives the options of playwright's `route.fulfill` for a path that the page requests. A path that is no
 * file fails, and is in `trouble`. `flags` tell Chromium how to draw.
 */
export async function printResult(chromium, executablePath, html, answer, work, flags = ["--disable-gpu"]) {
  const browser = await chromium.launch({
    executablePath,
    args: ["--disable-background-networking", "--disable-component-update", "--disable-sync", ...flags],
    chromiumSandbox: process.getuid() !== 0,
  });
  try {
    const page = await browser.newPage();
    const trouble = [];
    page.on("pageerror", (error) => trouble.push(error.message));
    page.on("console", (message) => message.type() === "error" && trouble.push(message.text()));
    await page.route("**/*", (route) => {
      const path = new URL(route.request().url()).pathname;
      return route.fulfill(path === "/" ? { body: html, contentType: "text/html" } : answer(path));
    });
    await page.goto("http://127.0.0.1:1/");
    const result = await work(page);
    process.stdout.write(JSON.stringify({ ...result, trouble }) + "\n");
  } finally {
    await browser.close();
  }
}
