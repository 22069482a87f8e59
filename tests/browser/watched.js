// A browser that is watched: whatever a page complains of, loads in vain or is forbidden is a fault, and so is what axe-core
// finds, in light and dark, on a desk and on a phone.
'use strict';
const { accessSync, constants } = require('node:fs');
const { delimiter, join } = require('node:path');
const { chromium } = require('playwright-core');
const axe = require('axe-core');

// What distributions call it. A browser of Playwright's own would be 150 MB more, and another one than people have.
const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const DESK = { width: 1280, height: 860 };
const PHONE = { width: 390, height: 844 };
// For whatever is waited for: machines of a gate are slow and shared.
const PATIENCE = 60_000;
// How often a page is judged that is loaded anew meanwhile, and how long it may take to find what it looks for.
const TRIES = 5;
const SETTLES = 10_000;

const found = () => {
  for (const folder of (process.env.PATH || '').split(delimiter)) {
    for (const name of NAMES) {
      try {
        accessSync(join(folder, name), constants.X_OK);
        return join(folder, name);
      } catch { /* not there */ }
    }
  }
  throw new Error(`none of ${NAMES.join(', ')} is on the PATH`);
};

class Watched {
  constructor(browser, url) {
    Object.assign(this, { browser, url, faults: [], judged: 0, clicks: 0 });
  }

  static async open(url) {
    // Root (a container's) has no sandbox of Chromium's, and small machines no room in /dev/shm.
    const args = ['--disable-dev-shm-usage', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])];
    const browser = await chromium.launch({ executablePath: found(), args });
    const watched = new Watched(browser, url);
    // Without motion: a colour on its way to another one has no contrast that could be judged.
    watched.context = await browser.newContext({ baseURL: url, viewport: DESK, reducedMotion: 'reduce' });
    watched.context.setDefaultTimeout(PATIENCE);
    await watched.context.addInitScript(() => document.addEventListener('securitypolicyviolation',
      event => console.error(`forbidden by the policy: ${event.effectiveDirective} ${event.blockedURI}`)));
    watched.page = await watched.context.newPage();
    watched.listen(watched.page);
    return watched;
  }

  fault(what) {
    this.faults.push(`${this.page.url().replace(this.url, '')}: ${what}`);
  }

  check(holds, what) {
    if (!holds) this.fault(what);
  }

  listen(page) {
    page.on('console', told => { if (['error', 'warning'].includes(told.type())) this.fault(`the console says: ${told.text()}`); });
    page.on('pageerror', error => this.fault(`a script failed: ${error.message}`));
    page.on('request', asked => { if (!asked.url().startsWith(`${this.url}/`)) this.fault(`asked somebody else: ${asked.url()}`); });
    page.on('requestfailed', asked => {
      // A stream ends with its page, and so does whatever a page that was left still loaded.
      const wasLeft = asked.failure()?.errorText === 'net::ERR_ABORTED';
      if (!wasLeft && !asked.url().endsWith('/live')) this.fault(`was not loaded: ${asked.url()}: ${asked.failure()?.errorText}`);
    });
  }

  async open(path) {
    const answer = await this.page.goto(path);
    this.check(answer.status() === 200, `status ${answer.status()}`);
  }

  // As a person does, and counted.
  async click(what) {
    this.clicks += 1;
    await what.click();
    await this.page.waitForLoadState();
  }

  // The page that is open. One that shows its last finding while it looks again loads itself anew, also under whoever judges.
  async judge() {
    for (let tries = 1; ; tries += 1) {
      try {
        await this.settled();
        return await this.judgeOnce();
      } catch (error) {
        if (tries === TRIES || !/context was destroyed/.test(error.message)) throw error;
        await this.page.waitForLoadState();
      }
    }
  }

  async settled() {
    for (let waited = 0; waited < SETTLES && await this.page.locator('[data-again]').count(); waited += 250) {
      await this.page.waitForTimeout(250);
    }
  }

  // In each light and on each screen.
  async judgeOnce() {
    const { page } = this;
    // What is folded is on the page too.
    await page.evaluate(() => document.querySelectorAll('details').forEach(each => { each.open = true; }));
    for (const viewport of [DESK, PHONE]) {
      await page.setViewportSize(viewport);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      this.check(wide <= 0, `${wide} px wider than a screen of ${viewport.width}`);
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme });
        await page.evaluate(axe.source);
        // Darkness changes colours and nothing else.
        const rules = colorScheme === 'dark' ? { runOnly: ['color-contrast'] } : {};
        const { violations } = await page.evaluate(rules => axe.run(rules), rules);
        for (const { id, help, nodes } of violations) {
          const where = nodes.slice(0, 3).map(node => `${node.html} ${node.failureSummary}`).join('\n    ');
          this.fault(`${colorScheme}, ${viewport.width} px wide: ${id}: ${help}:\n    ${where}`);
        }
        this.judged += 1;
      }
    }
    await page.setViewportSize(DESK);
    await page.emulateMedia({ colorScheme: 'light' });
  }
}

module.exports = { Watched, PATIENCE, DESK };
