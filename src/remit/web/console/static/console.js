// The console's one script: live parts, keys, passkeys. Every page works without it, except for passkeys.
"use strict";
(() => {
  const $ = (what, within = document) => within.querySelector(what);
  const $$ = (what, within = document) => [...within.querySelectorAll(what)];
  const ahead = Number(document.documentElement.dataset.now) - Date.now(); // the server's clock less ours
  // Markup comes from our own pages alone, and is only ever parsed, never run.
  const trusted = window.trustedTypes?.createPolicy("remit", { createHTML: (text) => text });
  const parse = (text) => new DOMParser().parseFromString(trusted ? trusted.createHTML(text) : text, "text/html");

  // --- times ---
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  function ago(at) {
    const off = at - Date.now() - ahead, seconds = Math.floor(Math.abs(off) / 1000);
    const [size, unit] = units.find(([s]) => seconds >= s) ?? units[3];
    return off > 0 ? `in ${Math.floor(seconds / size)} ${unit}` : `${Math.floor(seconds / size)} ${unit} ago`;
  }
  function tick() {
    for (const time of $$("time[data-at]")) {
      const text = ago(Number(time.dataset.at));
      if (time.textContent !== text) time.textContent = text;
    }
  }
  setInterval(tick, 1000);
  setInterval(() => {
    for (const clock of $$("[data-since]")) {
      clock.textContent = `${(Date.now() + ahead - Number(clock.dataset.since)).toLocaleString("en")} ms`;
    }
  }, 50);

  // --- live parts: when something they show has changed, ask for the page again and swap them by id ---
  const lost = $("#lost");
  let asking = false, again = false;
  async function refresh() {
    if (asking) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(location.href, { headers: { "Remit-Live": "1", Accept: "text/html" } });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.ok) swap(parse(await answer.text()));
    } catch { /* the stream will say that the connection is lost */ }
    asking = false;
    if (again) { again = false; refresh(); }
  }
  function swap(page) {
    for (const old of $$("[data-live][id]")) {
      const fresh = page.getElementById(old.id);
      if (!fresh || same(fresh, old) || $("form", fresh) && busy(old)) continue;
      const at = marked && old.contains(marked) ? marked.querySelector("a")?.getAttribute("href") : null;
      const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      old.replaceWith(document.adoptNode(fresh));
      fresh.classList.add("fresh");
      const find = (href) => href && $$("a", fresh).find((a) => a.getAttribute("href") === href);
      if (at) mark(find(at)?.closest("tr, li"));
      if (focus) find(focus)?.focus();
    }
    tick();
    filter();
    document.dispatchEvent(new Event("remit:swapped"));
  }
  // Somebody is filling it in: what they wrote is not taken from under them.
  const busy = (part) => $("[aria-busy]", part) || $$("input:not([type=hidden]), textarea", part).some(
    (field) => field === document.activeElement || field.value !== field.defaultValue);
  function same(a, b) {
    const plain = (one) => {
      const copy = one.cloneNode(true);
      copy.classList.remove("fresh");
      for (const text of $$("time, [data-since]", copy)) text.textContent = "";
      for (const button of $$("button", copy)) { button.disabled = false; delete button.dataset.wait; delete button.dataset.ready; }
      for (const row of $$(".at, [hidden]", copy)) { row.classList.remove("at"); row.hidden = false; if (!row.className) row.removeAttribute("class"); }
      if (!copy.className) copy.removeAttribute("class");
      return copy.outerHTML;
    };
    return plain(a) === plain(b);
  }
  if (document.body.dataset.changes && $("[data-live]") && window.EventSource) {
    const source = new EventSource(document.body.dataset.changes);
    let was = false; // what happened before the stream was open is asked for too
    source.onopen = () => { lost.textContent = ""; if (!was) refresh(); was = true; };
    source.onerror = () => { was = false; lost.textContent = "Connection lost; trying again"; };
    source.onmessage = (message) => {
      const changed = JSON.parse(message.data);
      const shown = new Set($$("[data-live]").flatMap((one) => one.dataset.live.split(" ")));
      if (changed.includes("*") || changed.some((kind) => shown.has(kind))) refresh();
    };
    addEventListener("pagehide", () => source.close());
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  // --- filter as you type; the URL says so too ---
  function filter() {
    for (const field of $$("input[data-filter]")) {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of $$(`#${field.dataset.filter} :is(tbody tr, li)`)) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    }
  }
  document.addEventListener("input", (event) => {
    if (!event.target.matches("input[data-filter]")) return;
    const url = new URL(location.href);
    if (event.target.value) url.searchParams.set("q", event.target.value); else url.searchParams.delete("q");
    history.replaceState(null, "", url);
    filter();
  });

  // --- answers: the passkey signs what is shown; a hasty press on what cannot be undone does nothing ---
  const say = (text) => { const where = $("[data-said]"); if (where) where.textContent = text; };
  async function post(path, form) {
    const headers = { Accept: "application/json" };
    const answer = await fetch(path, { method: "POST", headers, body: new URLSearchParams(new FormData(form)) });
    const body = await answer.json();
    if (!answer.ok) throw new Error([body.detail, body.next_step].filter(Boolean).join(" "));
    return body;
  }
  async function sign(form) {
    const asked = await post(form.dataset.passkey, form);
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(asked.publicKey);
    const made = (await navigator.credentials.get({ publicKey })).toJSON();
    const { authenticatorData, clientDataJSON, signature } = made.response;
    form.elements.signed.value = JSON.stringify({ passkey: made.id, authenticator_data: authenticatorData,
      client_data: clientDataJSON, signature, nonce: asked.nonce, expires_at: asked.expires_at });
  }
  async function register(form) {
    const asked = await post(form.dataset.register, form);
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(asked.publicKey);
    const made = (await navigator.credentials.create({ publicKey })).toJSON();
    form.elements.credential.value = JSON.stringify(made);
    form.elements.nonce.value = asked.nonce;
    form.elements.expires_at.value = asked.expires_at;
  }
  document.addEventListener("submit", async (event) => {
    const form = event.target, act = form.dataset.passkey ? sign : form.dataset.register ? register : null;
    if (!act || !window.PublicKeyCredential) return;
    event.preventDefault();
    say("");
    form.setAttribute("aria-busy", "true");
    try {
      await act(form);
      form.submit();
    } catch (error) {
      say(error.name === "NotAllowedError" ? "Your passkey did not sign. Nothing has happened." : error.message);
    }
    form.removeAttribute("aria-busy");
  });
  function hold() {
    for (const button of $$("button[data-wait]")) {
      const wait = Number(button.dataset.wait);
      delete button.dataset.wait;
      if (button.disabled) continue;
      button.disabled = true;
      setTimeout(() => { button.disabled = false; button.dataset.ready = ""; }, wait);
    }
  }
  document.addEventListener("remit:swapped", hold);
  hold();

  // --- keys ---
  let marked = null, going = false;
  function mark(row) {
    marked?.classList.remove("at");
    marked = row ?? null;
    if (!marked) return;
    marked.classList.add("at");
    marked.scrollIntoView({ block: "nearest" });
    $("a", marked)?.focus({ preventScroll: true });
  }
  function move(step) {
    const rows = $$("main tbody tr, main .rows li").filter((row) => !row.hidden && $("a.open", row));
    if (!rows.length) return;
    const next = rows.indexOf(marked) + step;
    mark(rows[Math.max(0, Math.min(rows.length - 1, next))]);
  }
  const shut = (but) => $$("header nav details[open]").forEach((one) => { one.open = one.contains(but); });
  document.addEventListener("click", (event) => shut(event.target));
  const help = $("#help");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help?.open) return;
    if (event.key === "Escape") shut(null);
    if (event.target.matches("input, textarea, select")) { if (event.key === "Escape") event.target.blur(); return; }
    if (going) {
      going = false;
      const link = $$("header nav a").find((one) => one.dataset.key === event.key);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    const act = {
      "/": () => { const field = $("input[type=search]"); field?.focus(); field?.select(); },
      "?": () => help?.showModal(),
      g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
      j: () => move(1),
      k: () => move(-1),
      y: () => $("[data-answer=yes]")?.click(),
      a: () => $("[data-answer=yes]")?.click(),
      n: () => $("[data-answer=no]")?.focus(),
    }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  tick();
})();
