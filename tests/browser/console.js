// The console in a real browser, as the person on call uses it: signs in, finds what died, tries it dry, replays it, and sees
// the order go on; then every page is judged, and what a page must not be able to do is tried.
//
//   NODE_PATH=.tools/browser/node_modules node tests/browser/console.js '{"url": …, "key": …, "letters": 3}'
//
// It is told where the console is, a key of an administrator, how many labels died of one cause, and whether TLS stands in
// front. It prints each fault, and ends with 1 where there is one. tests/it/chromium.rs makes what it finds.
'use strict';
const { setTimeout: pause } = require('node:timers/promises');
const { Watched, PATIENCE } = require('./watched.js');

// From the overview until a group is replayed, the dry run among them.
const CLICKS = 4;

async function signIn (watched, plan) {
  const { page, context } = watched;
  await watched.open('/');
  watched.check(page.url().endsWith('/sign-in?to=%2F'), 'it let somebody in without a key');
  await watched.judge();
  // By the keyboard alone: the field has the focus.
  await page.keyboard.type(plan.key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  watched.check(await page.evaluate(() => document.activeElement.id) === 'main', 'the first Tab does not skip to the page');

  const cookies = await context.cookies();
  watched.check(cookies.length === 1, `cookies: ${JSON.stringify(cookies)}`);
  const [{ name, httpOnly, sameSite, secure, value }] = cookies;
  watched.check(httpOnly && sameSite === 'Strict', `HttpOnly ${httpOnly}, SameSite ${sameSite}`);
  watched.check(secure === plan.secure && name.startsWith('__Host-') === plan.secure, `${name}, Secure ${secure}`);
  watched.check(!value.includes(plan.key) && await page.evaluate(() => document.cookie) === '', 'a script can read the cookie');
}

// groups → list → one → dry run → replay → its order is shipped.
async function one (watched) {
  const { page } = watched;
  await watched.open('/');
  await watched.click(page.getByRole('navigation').getByRole('link', { name: 'Dead letters' }));
  await watched.judge();
  await watched.click(page.getByRole('link', { name: 'shipping-label' }));
  await watched.judge();
  await watched.click(page.getByRole('row').getByRole('link', { name: 'shipping-label' }).first());
  await watched.judge();
  const letter = new URL(page.url()).pathname;
  await watched.open(`${letter}?personal_data=true`);
  await watched.judge();
  await watched.open(letter);
  const order = await page.locator('.facts a[href^="/orders/"]').getAttribute('href');
  await watched.open(order);
  await watched.judge();
  watched.check(await page.getByText('A job was given up').count() === 1, 'the order does not tell of its dead letter');
  await watched.open('/stuck');
  watched.check(await page.locator(`a[href="${order}"]`).count() === 1, 'what waits for somebody is not among what is stuck');
  await watched.judge();
  await watched.open(letter);

  await watched.click(page.getByRole('button', { name: 'Dry run' }));
  await page.getByText('call easypost').or(page.getByText('look at easypost')).waitFor();
  await watched.judge();
  await watched.click(page.getByRole('button', { name: 'Replay' }));
  await page.getByRole('heading', { name: '1 replayed' }).waitFor();
  await watched.judge();
  await watched.click(page.getByRole('link', { name: 'Back to the letter' }));
  await page.locator('.head').getByText('replayed').waitFor();
  await watched.judge();
  const job = await page.locator('.facts a[href^="/jobs/"]').getAttribute('href');
  for (let waited = 0; ; waited += 250) {
    await watched.open(order);
    if (await page.locator('.head').getByText('shipped', { exact: true }).count()) break;
    if (waited > PATIENCE) throw new Error('the order is never shipped');
    await pause(250);
  }
  watched.check(await page.getByText('A job was given up').count() === 0, 'the order still tells of a dead letter');
  await watched.judge();
  await watched.click(page.getByRole('button', { name: 'Refund what is left' }));
  await page.getByRole('heading', { name: 'Refund what is left?' }).waitFor();
  await watched.judge();
  await watched.click(page.getByRole('link', { name: 'Leave it as it is' }));
  await page.getByRole('heading', { name: 'Its life' }).waitFor();
  await watched.open(job);
  await watched.judge();
}

// The rest of them, found from the overview and replayed together.
async function group (watched, letters) {
  const { page } = watched;
  await watched.open('/');
  watched.clicks = 0;
  await watched.click(page.getByRole('navigation').getByRole('link', { name: 'Dead letters' }));
  const row = page.getByRole('row').filter({ has: page.getByRole('link', { name: 'shipping-label' }) });
  await watched.click(row.getByRole('button', { name: 'Dry run' }));
  await watched.click(page.getByRole('button', { name: 'Replay' }));
  await page.getByRole('heading', { name: `${letters} replayed` }).waitFor();
  const { clicks } = watched;
  watched.check(clicks <= CLICKS, `${clicks} clicks to replay a group`);
  return clicks;
}

// Whatever else there is, empty states and refusals among it.
async function everything (watched) {
  const { page } = watched;
  for (const path of ['/', '/lanes/shipping', '/stuck', '/doctor', '/settings', '/dead/list?state=any', '/dead?lane=mail', '/dead/list?kind=none',
    '/orders', '/orders?text=nobody%20at%20all', '/orders?status=lost', '/actions', '/actions?action=none']) {
    await watched.open(path);
    await watched.judge();
  }
  await watched.open('/');
  await page.locator('.pulse.live').waitFor();
  await watched.judge();
}

// What nothing on a page may do, whoever wrote it there.
async function forbidden (watched) {
  const page = await watched.context.newPage();
  await page.goto('/orders');
  const told = await page.evaluate(async () => {
    const said = new Set();
    document.addEventListener('securitypolicyviolation', event => said.add(event.effectiveDirective));
    const add = (name, facts) => document.body.append(Object.assign(document.createElement(name), facts));
    add('script', { textContent: 'window.ran = true' });
    add('style', { textContent: 'body { display: none }' });
    add('img', { src: 'http://127.0.0.1:9/x.png' });
    add('iframe', { src: 'http://127.0.0.1:9/' });
    add('base', { href: 'http://127.0.0.1:9/' });
    document.body.setAttribute('onclick', 'window.ran = true');
    document.body.click();
    await fetch('http://127.0.0.1:9/').catch(() => {});
    const form = Object.assign(document.createElement('form'), { action: 'http://127.0.0.1:9/' });
    document.body.append(form);
    form.submit();
    // Each is told by an event of its own, some only after a while on a busy machine.
    for (let looks = 0; said.size < 8 && looks < 100; looks += 1) await new Promise(done => setTimeout(done, 100));
    return { ran: Boolean(window.ran), said: [...said].sort() };
  });
  watched.check(!told.ran, 'a script that somebody wrote into a page was run');
  const wanted = ['base-uri', 'connect-src', 'form-action', 'frame-src', 'img-src', 'script-src-attr', 'script-src-elem', 'style-src-elem'];
  watched.check(wanted.every(each => told.said.includes(each)), `the policy let something pass: only ${told.said} were refused`);

  // Somebody else's page: it can not frame the console, and its form carries no sign-in.
  await page.goto('about:blank');
  await page.setContent(`<iframe src="${watched.url}/"></iframe>`);
  await page.waitForTimeout(250);
  watched.check(!page.frames()[1].url().startsWith(watched.url), 'another site can frame the console');
  await page.setContent(`<form method="post" action="${watched.url}/sign-out"><button>Win</button></form>`);
  await page.getByRole('button').click();
  await page.waitForURL(`${watched.url}/**`);
  await watched.open('/');
  watched.check(await watched.page.getByRole('button', { name: 'Sign out' }).count() === 1, 'another site signed somebody out');
  await page.close();
}

async function signOut (watched) {
  await watched.click(watched.page.getByRole('button', { name: 'Sign out' }));
  await watched.open('/orders');
  watched.check(watched.page.url().includes('/sign-in'), 'signed out, and still let in');
}

async function main () {
  const plan = { secure: false, letters: 0, ...JSON.parse(process.argv[2]) };
  const watched = await Watched.open(plan.url);
  try {
    await signIn(watched, plan);
    if (plan.letters > 0) await one(watched);
    const clicks = plan.letters > 1 ? await group(watched, plan.letters - 1) : 0;
    await everything(watched);
    await forbidden(watched);
    await signOut(watched);
    console.log(JSON.stringify({ judged: watched.judged, clicks, faults: watched.faults.length }));
  } catch (error) {
    watched.fault(error.stack);
  } finally {
    await watched.browser.close();
  }
  watched.faults.forEach(fault => console.error(fault));
  process.exitCode = watched.faults.length ? 1 : 0;
}

main();
