// What pages need beyond HTML and htmx: live updates, the reader's time zone, theme, keyboard, copying.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const fragment = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  // --- The reader's time zone and theme, in cookies that the server reads ---

  const cookie = (name) => document.cookie.split("; ").find((pair) => pair.startsWith(`${name}=`))?.slice(name.length + 1);
  const setCookie = (name, value) => {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `${name}=${value}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  };

  function tellTimeZone() {
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!zone || cookie("timezone") === zone) return;
    setCookie("timezone", zone);
    // The page was written in another zone; once the cookie is there, it is written again.
    if (cookie("timezone") === zone && one("time") && !document.body.dataset.timeZone) location.reload();
  }

  function switchTheme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    setCookie("theme", root.dataset.theme);
  }

  // --- Durations that go on ---

  function inWords(seconds) {
    if (seconds < 59.95) return seconds < 10 ? `${Math.max(seconds, 0).toFixed(1)} s` : `${Math.floor(seconds)} s`;
    const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
    if (days) return hours ? `${days} d ${hours} h` : `${days} d`;
    if (hours) return minutes ? `${hours} h ${minutes} m` : `${hours} h`;
    return Math.floor(seconds % 60) ? `${minutes} m ${Math.floor(seconds % 60)} s` : `${minutes} m`;
  }
  function countOn() {
    for (const element of all("[data-since]")) {
      element.textContent = inWords((Date.now() - Date.parse(element.dataset.since)) / 1000);
    }
  }

  // In the bar of a narrow screen. `scrollIntoView` would also make it the place where the Tab key begins.
  function showWhereWeAre() {
    const current = one(".nav[aria-current]"), bar = current?.parentElement;
    if (!bar) return;
    const here = current.getBoundingClientRect(), seen = bar.getBoundingClientRect();
    bar.scrollLeft += Math.max(0, here.right - seen.right) - Math.max(0, seen.left - here.left);
  }

  // --- Changing a part of the page in place: what is the same stays, with its focus and selection ---

  const keyOf = (node) => (node.nodeType === 1 ? node.id || node.dataset.key || null : null);

  function morph(from, to) {
    if (from.nodeType !== to.nodeType || from.nodeName !== to.nodeName || keyOf(from) !== keyOf(to)) {
      from.replaceWith(to);
    } else if (from.nodeType !== 1) {
      if (from.data !== to.data) from.data = to.data;
    } else if (!from.hasAttribute("data-keep") && !from.isEqualNode(to)) {
      morphAttributes(from, to);
      morphChildren(from, to);
    }
  }
  function morphAttributes(from, to) {
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !(name === "open" && from.nodeName === "DETAILS")) from.removeAttribute(name);
    }
    for (const { name, value } of to.attributes) {
      if (from.getAttribute(name) !== value && !(name === "open" && from.nodeName === "DETAILS")) from.setAttribute(name, value);
    }
  }
  function morphChildren(from, to) {
    const keyed = new Map([...from.children].filter(keyOf).map((child) => [keyOf(child), child]));
    let place = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      const key = keyOf(wanted);
      let match = key ? keyed.get(key) : null;
      if (!key && place && place.nodeName === wanted.nodeName && !keyOf(place)) match = place;
      if (!match) {
        from.insertBefore(wanted, place);
        continue;
      }
      keyed.delete(key);
      if (match === place) place = place.nextSibling;
      else from.insertBefore(match, place);
      morph(match, wanted);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  }

  // --- Lists: rows change in place; new rows wait behind "3 new" while someone reads ---

  const held = new Map(); // region name → the newest version of it

  function isReading(list, bar) {
    // The bar pushes the list down, out from under a pointer that was on its first row.
    return window.scrollY > 80 || list.matches(":hover") || bar?.matches(":hover") || list.contains(document.activeElement);
  }
  function holdBack(region, list, fresh) {
    const before = new Set([...list.children].map(keyOf));
    const news = [...fresh.children].filter((row) => !before.has(keyOf(row)));
    const freshKeys = new Map([...fresh.children].map((row) => [keyOf(row), row]));
    const oldest = [...fresh.children].findLast((row) => before.has(keyOf(row)));
    let beyond = false; // rows after the last that both versions have were only pushed off the page
    for (const row of [...list.children]) {
      const newer = freshKeys.get(keyOf(row));
      if (newer) morph(row, newer.cloneNode(true));
      else if (!beyond) row.classList.add("gone");
      if (oldest && keyOf(row) === keyOf(oldest)) beyond = true;
    }
    let bar = one(".fresh", region.parentNode);
    if (!news.length) return bar?.remove();
    if (!bar) {
      bar = document.createElement("div");
      bar.className = "fresh";
      bar.innerHTML = '<button type="button" class="button" data-show-fresh></button>';
      region.before(bar);
    }
    bar.dataset.of = region.dataset.region;
    bar.firstChild.textContent = `${news.length} new`;
  }
  function showFresh(bar) {
    const region = one(`[data-region="${bar.dataset.of}"]`);
    const html = held.get(bar.dataset.of);
    bar.remove();
    if (!region || html === undefined) return;
    held.delete(region.dataset.region);
    applyRegion(region, html, true);
    window.scrollTo({ top: 0 });
  }

  function applyRegion(region, html, now = false) {
    const content = fragment(html);
    const list = one("[data-list]", region);
    const fresh = list && one("[data-list]", content);
    const bar = one(".fresh", region.parentNode);
    if (list && fresh && !now && isReading(list, bar)) {
      const changed = [...fresh.children].map(keyOf).join() !== [...list.children].map(keyOf).join();
      if (changed) {
        held.set(region.dataset.region, html);
        holdBack(region, list, fresh);
        return;
      }
    }
    held.delete(region.dataset.region);
    if (bar?.dataset.of === region.dataset.region) bar.remove();
    const wrapper = region.cloneNode(false);
    wrapper.append(content);
    morph(region, wrapper);
    if (window.htmx) htmx.process(region);
  }

  // --- The log ---

  const log = {
    get list() { return one("[data-log]"); },
    get lines() { return this.list ? all("li[id]", this.list) : []; },
    get follows() { return one("[data-follow]")?.checked; },
    get isAtEnd() { return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < 40; },
    ends() {
      const lines = this.lines;
      const id = (line) => (line ? line.id.slice(4) : "");
      return { first: id(lines[0]), last: id(lines.at(-1)), count: lines.length };
    },
    begin() {
      if (!this.list) return;
      this.list.addEventListener("scroll", () => {
        const box = one("[data-follow]");
        if (box) box.checked = this.isAtEnd;
      }, { passive: true });
      this.count();
      if (this.follows) this.toEnd();
    },
    toEnd() { this.list.scrollTop = this.list.scrollHeight; },
    apply(update) {
      if (!this.list) return;
      const follows = this.follows;
      if (update.replace !== undefined) {
        this.list.replaceChildren(fragment(update.replace));
        htmx.process(this.list);
      }
      for (const { before, html } of update.insert ?? []) {
        this.list.insertBefore(fragment(html), before && document.getElementById(`log-${before}`));
      }
      this.count();
      if (follows) this.toEnd();
    },
    count() {
      const lines = this.lines.length;
      const words = one("[data-log-count]");
      const older = one("[data-log-older]");
      if (words) words.textContent = lines ? `${older ? "last " : ""}${lines.toLocaleString("en")} line${lines === 1 ? "" : "s"}` : "";
      const empty = one("[data-log-empty]");
      if (empty) empty.hidden = lines > 0;
    },
  };

  // --- The socket ---

  const live = {
    socket: null, wait: 500, timer: 0, revision: 0, state: "connecting", page: "",
    say(state) {
      this.state = state;
      for (const dot of all("[data-live-dot]")) {
        if (dot.dataset.is !== state) dot.textContent = dot.dataset.is = state;
      }
    },
    begin() {
      clearTimeout(this.timer);
      const old = this.socket;
      this.socket = null;
      old?.close();
      if (document.body.dataset.live === undefined) return;
      this.page = location.pathname + location.search;
      const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/`);
      this.socket = socket;
      socket.onopen = () => {
        const regions = Object.fromEntries(all("[data-region]").map((region) => [region.dataset.region, region.dataset.digest]));
        socket.send(JSON.stringify({ page: this.page, regions, log: log.ends() }));
        this.wait = 500;
        this.say("live");
      };
      socket.onmessage = (event) => { if (this.socket === socket) this.apply(JSON.parse(event.data)); };
      socket.onclose = (event) => {
        if (this.socket !== socket) return;
        this.socket = null;
        if (event.code === 4401 || event.code === 4403) return location.reload();
        if (event.code === 4404) return this.say("not live");
        this.say("reconnecting");
        this.timer = setTimeout(() => this.begin(), this.wait * (0.75 + Math.random() / 2));
        this.wait = Math.min(this.wait * 2, 10000);
      };
    },
    apply(update) {
      if (update.revision && update.revision < this.revision) return;
      this.revision = update.revision ?? this.revision;
      for (const [name, [digest, html]] of Object.entries(update.regions ?? {})) {
        const region = one(`[data-region="${name}"]`);
        if (!region) continue;
        region.dataset.digest = digest;
        applyRegion(region, html);
      }
      if (update.log) log.apply(update.log);
      this.say(this.state);
      countOn();
      document.dispatchEvent(new CustomEvent("live:applied"));
    },
    hurry() { if (!this.socket && this.state === "reconnecting") { this.wait = 500; this.begin(); } },
  };

  // --- Copying ---

  async function copy(button, text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // no permission, or not a secure context
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = said; }, 1200);
  }

  // --- Writing into a field: the usual words, a name that a template knows ---

  function write(field, text, { replace }) {
    if (replace) field.select();
    field.focus();
    field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
  function beButtons() { // without a script they are what they look like: words to read
    for (const name of all("[data-insert]")) { name.role = "button"; name.tabIndex = 0; }
  }

  // --- Events ---

  document.addEventListener("click", (event) => {
    const target = event.target.closest?.("[data-theme-switch], [data-copy], [data-copy-from], [data-show-fresh], [data-fill], [data-insert]");
    for (const menu of all("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
    if (!target) return;
    if (target.matches("[data-theme-switch]")) switchTheme();
    else if (target.matches("[data-show-fresh]")) showFresh(target.closest(".fresh"));
    else if (target.matches("[data-fill]")) write(one(target.dataset.fill), target.dataset.text, { replace: true });
    else if (target.matches("[data-insert]")) write(one(target.dataset.insert), `{{ ${target.textContent} }}`, { replace: false });
    else copy(target, target.dataset.copy ?? one(target.dataset.copyFrom)?.textContent ?? "");
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const menu = one("details[data-menu][open]");
      if (menu) { menu.open = false; one("summary", menu).focus(); }
    }
    if ((event.key === "Enter" || event.key === " ") && event.target.matches?.("[data-insert]")) {
      event.preventDefault(); // the key is not typed into the field, too
      event.target.click();
    }
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const field = one("[data-search]");
      if (field) { event.preventDefault(); field.focus(); field.select(); }
    }
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-follow]")) { event.stopPropagation(); if (event.target.checked) log.toEnd(); }
    if (event.target.matches("[data-submit-on-change]")) event.target.form.requestSubmit();
  }, true);
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "main" || event.detail.elt.id === "main") { log.begin(); live.revision = 0; }
    else if (log.list) log.count();
  });
  document.addEventListener("htmx:pushedIntoHistory", () => live.begin());
  document.addEventListener("htmx:replacedInHistory", () => live.begin());
  document.addEventListener("htmx:historyRestore", () => { log.begin(); live.begin(); });
  window.addEventListener("online", () => live.hurry());
  document.addEventListener("visibilitychange", () => { if (!document.hidden) live.hurry(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) live.begin(); });

  beButtons();
  showWhereWeAre();
  tellTimeZone();
  setInterval(countOn, 1000);
  countOn();
  log.begin();
  live.begin();
})();
