// Runs the experiments one after the other, fills the table, and tells whoever served the page (if they asked to be
// told: `?report`) a line at a time. `?only=TEXT` runs those whose name holds the text.
import init, { Page, panic } from "./browser.js";

const query = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);
const groups = new Map();
let passed = 0;
let failed = 0;
let current = "the start";

// Lines in the order in which they were told.
let told = Promise.resolve();
function tell(kind, text) {
  if (query.has("report")) {
    told = told.then(() => fetch("report", { method: "POST", body: `${kind} ${text}` })).catch(() => {});
  }
  return told;
}

function row(group) {
  if (!groups.has(group)) {
    const tr = element("groups").insertRow();
    const cells = ["", "number", "number", "number", "number", "", "number"].map((name) => {
      const cell = tr.insertCell();
      cell.className = name;
      return cell;
    });
    groups.set(group, { group, cells, passed: 0, failed: 0, worst: null, seconds: 0 });
  }
  return groups.get(group);
}

function show(g) {
  const { error, allowed, where } = g.worst ?? {};
  const number = (x) => (x === undefined ? "exact" : x.toExponential(1));
  const texts = [g.group, g.passed, g.failed, number(error), number(allowed), where ?? "", g.seconds.toFixed(1)];
  texts.forEach((text, n) => (g.cells[n].textContent = text));
  g.cells[2].className = g.failed ? "number fault" : "number";
}

// One line of a group that is done.
function summary(g) {
  const worst = g.worst
    ? `, at most ${g.worst.error.toExponential(1)} where ${g.worst.allowed.toExponential(1)} is allowed (${g.worst.where})`
    : ", all exact";
  return `${g.group}: ${g.passed} passed, ${g.failed} failed${worst}, ${g.seconds.toFixed(1)} s`;
}

function fault(name, text) {
  const div = element("faults").appendChild(document.createElement("div"));
  div.className = "fault";
  div.appendChild(document.createElement("strong")).textContent = name;
  div.appendChild(document.createElement("pre")).textContent = text;
  tell("fault", `${name}\n${text}`);
}

async function experiment(page, n, [group, name]) {
  const g = row(group);
  current = `${group}: ${name}`;
  tell("runs", current);
  const start = performance.now();
  const answer = JSON.parse(await page.run(n));
  g.seconds += (performance.now() - start) / 1000;
  for (const [output, error, allowed] of answer.outputs) {
    if (!g.worst || error / allowed > g.worst.error / g.worst.allowed) {
      g.worst = { error, allowed, where: `${output}: ${name}` };
    }
  }
  if (answer.fault === undefined) {
    passed += 1;
    g.passed += 1;
  } else {
    failed += 1;
    g.failed += 1;
    fault(current, answer.fault);
  }
  show(g);
}

async function end(text) {
  element("verdict").textContent = text ?? `${passed} passed, ${failed} failed`;
  element("verdict").className = failed || text ? "fault" : "passed";
  await tell("end", `${passed} ${failed}`);
}

// What the program's last panic said; nothing before it has started.
function saidLast() {
  try {
    const text = panic();
    return text ? `${text}\n` : "";
  } catch {
    return "";
  }
}

// A panic ends the program inside the page: what ran is told, and what was running.
async function broken(error) {
  failed += 1;
  fault(current, `${saidLast()}${error?.stack ?? error}`);
  await end("the page broke off");
}
window.addEventListener("error", (event) => broken(event.error ?? event.message));
window.addEventListener("unhandledrejection", (event) => broken(event.reason));

if (!navigator.gpu) {
  await broken("this browser has no WebGPU here (navigator.gpu is missing)");
} else {
  await init({ module_or_path: "./browser_bg.wasm" });
  const page = await Page.open();
  element("about").textContent = `On ${page.about()}. ${navigator.userAgent}`;
  tell("about", page.about());
  const only = query.get("only") ?? "";
  const chosen = JSON.parse(page.list())
    .map((names, n) => [n, names])
    .filter(([, [group, name]]) => `${group}: ${name}`.includes(only));
  element("progress").max = chosen.length;
  let last = null;
  for (const [n, names] of chosen) {
    if (last && last !== names[0]) tell("group", summary(row(last)));
    last = names[0];
    await experiment(page, n, names);
    element("progress").value += 1;
  }
  if (last) tell("group", summary(row(last)));
  await end();
}
