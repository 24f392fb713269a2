// The page of `rvm-export demo` at work, as a PNG file for the README: node readme_pictures.mjs WEB CHROMIUM ADDRESS CAMERA OUT

import { createRequire } from "node:module";
import { join } from "node:path";

const [web, executablePath, address, camera, path] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");

const browser = await chromium.launch({
  executablePath,
  args: [
    ...["--disable-gpu", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"],
    ...[`--use-file-for-fake-video-capture=${camera}`, "--disable-background-networking", "--disable-component-update"],
  ],
  chromiumSandbox: process.getuid() !== 0,
});
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "light" });
  await page.goto(address);
  await page.selectOption("#ratio", "0.5");
  await page.check("[name=background][value=colour]", { force: true });
  await page.fill("#colour", "#e2b04a");
  await page.click("#compare-before");
  await page.click("#camera");
  await page.waitForSelector("#split:not([hidden])");
  await page.fill("#split", "44");
  await page.waitForFunction(() => document.getElementById("memory").textContent !== "–");
  await page.waitForTimeout(8000); // for states that have settled
  await page.mouse.move(0, 0);
  await page.screenshot({ path });
} finally {
  await browser.close();
}
