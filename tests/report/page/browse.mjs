// node browse.mjs INDEX.HTML FOLDER CHROMIUM: opens the page in all sizes and schemes, uses it, prints it; what is wrong, as JSON.
// FOLDER holds node_modules with puppeteer-core and axe-core; pictures of the page are left in FOLDER/shots.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [index, folder, chromium] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), "here.js"));
const { default: puppeteer } = await import(pathToFileURL(require.resolve("puppeteer-core")).href);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const shots = path.join(folder, "shots");
fs.mkdirSync(shots, { recursive: true });

const faults = [];
const must = (true_, what) => { if (!true_) faults.push(what); };
const browser = await puppeteer.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"], protocolTimeout: 600000 });

async function opened(width, scheme) {
  const page = await browser.newPage();
  const where = `${width} px, ${scheme}`;
  page.on("console", (message) => faults.push(`${where}: console says ${message.text()}`));
  page.on("pageerror", (error) => faults.push(`${where}: ${error.message}`));
  page.on("request", (request) => { if (!/^(file|data):/.test(request.url())) faults.push(`${where}: asks for ${request.url()}`); });
  page.on("requestfailed", (request) => faults.push(`${where}: ${request.url()} fails`));
  await page.setViewport({ width, height: 900, isMobile: width < 500, hasTouch: width < 500 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(index).href, { waitUntil: "load" });
  await page.screenshot({ path: path.join(shots, `${width}-${scheme}.png`) });
  return [page, where];
}

async function look(width, scheme) {
  const [page, where] = await opened(width, scheme);
  await page.evaluate(() => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  must(wide === 0, `${where}: scrolls sideways by ${wide} px`);
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const fault of found.violations) faults.push(`${where}: axe ${fault.impact} ${fault.id}: ${fault.nodes[0].html}`);
  await page.close();
}

async function use() {
  const [page] = await opened(1400, "light");
  await page.keyboard.press("Tab");
  must(await page.evaluate(() => document.activeElement.matches(".skip") && document.activeElement.getBoundingClientRect().left >= 0), "the first key leads to no visible skip link");
  const shown = () => page.evaluate(() => !document.getElementById("tip").hidden && document.getElementById("tip").textContent);
  const term = await page.$("main a.term");
  await term.evaluate((link) => link.scrollIntoView({ behavior: "instant", block: "center" }));
  await term.hover();
  const said = await page.evaluate((link) => document.getElementById(link.getAttribute("aria-describedby")).textContent, term);
  must(await shown() === said, "the pointer on a term shows no meaning");
  await page.keyboard.press("Escape");
  must(await shown() === false, "Escape does not close the meaning of a term");
  await page.mouse.move(1, 1);
  await term.focus();
  must(await shown() === said, "focus on a term shows no meaning");
  const sorting = await page.evaluate(() => {
    const numbers = (table, at) => [...table.tBodies[0].rows].map((row) => Number(row.cells[at].textContent));
    for (const table of document.querySelectorAll("details.data table")) for (const title of table.tHead.rows[0].cells) {
      if (!title.matches(".n") || new Set(numbers(table, title.cellIndex)).size < 3) continue;
      table.closest("details").open = true;
      return [1, -1].map((sign) => {
        title.querySelector("button").click();
        const sorted = numbers(table, title.cellIndex).map((value) => sign * value);
        return sorted.every((value, at) => at === 0 || value >= sorted[at - 1]) && title.getAttribute("aria-sort") !== "none";
      });
    }
    return [];
  });
  must(sorting.length === 2 && sorting.every(Boolean), `clicks on a column's title sort: ${sorting}`);
  const count = await page.evaluate(() => document.querySelectorAll("article").length);
  const last = await page.evaluate(() => [...document.querySelectorAll("article")].at(-1).id);
  await page.type("#search", last);
  const left = await page.evaluate(() => [...document.querySelectorAll("article:not([hidden])")].map((study) => study.id));
  must(left.includes(last) && (count === 1 || left.length < count), `a search for ${last} leaves ${left}`);
  await page.close();
}

async function print() {
  const [page] = await opened(1400, "dark");
  await page.waitForFunction(() => [...document.images].every((image) => image.complete), { timeout: 60000 });
  const missing = await page.evaluate(() => [...document.images].filter((image) => !image.naturalWidth).map((image) => image.src));
  must(missing.length === 0, `pictures that are not there: ${missing}`);
  await page.emulateMediaType("print");
  const dark = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  must(dark === "rgb(255, 255, 255)", `paper is ${dark}`);
  const folded = await page.evaluate(() => [...document.querySelectorAll("details")].filter((part) => part.offsetHeight <= part.firstElementChild.offsetHeight + 2).length);
  must(folded === 0, `${folded} folded parts are not printed`);
  await page.emulateMediaType(null);
  await page.pdf({ path: path.join(shots, "print.pdf"), format: "A4", timeout: 0 });
  await page.close();
}

for (const width of [1400, 390]) for (const scheme of ["light", "dark"]) await look(width, scheme);
await use();
await print();
await browser.close();
console.log(JSON.stringify(faults, null, 1));
