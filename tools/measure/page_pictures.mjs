// A page as PNG files, its beginning and some of its elements: node page_pictures.mjs WEB CHROMIUM PAGE HEIGHT OUT [SELECTOR...]
// Writes OUT.png for the beginning, OUT-1.png and so on for the elements.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [web, executablePath, file, height, out, ...selectors] = process.argv.slice(2);
const { chromium } = createRequire(join(web, "package.json"))("playwright-core");

const browser = await chromium.launch({
  executablePath,
  args: ["--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  chromiumSandbox: process.getuid() !== 0,
});
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: parseInt(height) }, colorScheme: "light" });
  await page.goto(pathToFileURL(file).href);
  await page.screenshot({ path: `${out}.png` });
  for (const [index, selector] of selectors.entries()) {
    await page.locator(selector).first().screenshot({ path: `${out}-${index + 1}.png` });
  }
} finally {
  await browser.close();
}
