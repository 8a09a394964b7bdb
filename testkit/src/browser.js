// Opens a page in Chromium in both themes, on a screen and on a phone, and prints what is wrong with it as JSON:
//   node browser.js FILE FOLDER-FOR-PICTURES
const { chromium } = require('playwright-core');
const fs = require('fs');
const path = require('path');

const QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

async function main() {
  const [file, folder] = process.argv.slice(2);
  const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: QUIET });
  const wrong = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const [name, width] of [['screen', 1200], ['phone', 390]]) {
      const where = `${colorScheme} ${name}`;
      // axe is put into the page from outside, which the page's own policy would forbid.
      const context = await browser.newContext({ colorScheme, viewport: { width, height: 900 }, bypassCSP: true });
      const page = await context.newPage();
      page.on('console', (message) => wrong.push(`${where}: ${message.text()}`));
      page.on('request', (request) => {
        if (!request.isNavigationRequest()) wrong.push(`${where}: it fetches ${request.url()}`);
      });
      await page.goto(`file://${path.resolve(file)}`);
      await page.screenshot({ path: path.join(folder, `${colorScheme}-${name}.png`), fullPage: true });
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (wider > 0) wrong.push(`${where}: it is ${wider} pixels wider than the window`);
      await page.evaluate(axe);
      const found = await page.evaluate(() => axe.run());
      for (const violation of found.violations) {
        for (const node of violation.nodes) wrong.push(`${where}: ${violation.id}: ${node.html}: ${node.failureSummary}`);
      }
      await context.close();
    }
  }
  await browser.close();
  console.log(JSON.stringify(wrong));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
