// Makes the table of runs smoother: the same addresses without loading whole pages. Without this script every form and link works as it is.
"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
  const held = form.elements.held; // the run that is ticked: it stays so over pages, searches and reloads
  const fields = [...form.querySelectorAll("input[name], select[name]")];
  let last = 0, typing = false, timer = 0;

  async function show(address, keep) {
    const turn = ++last;
    let text;
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(String(answer.status));
      text = await answer.text();
    } catch {
      location.assign(address); // the browser says what is wrong
      return;
    }
    if (turn !== last) return; // a later question was asked meanwhile
    const page = new DOMParser().parseFromString(text, "text/html");
    document.getElementById("results").replaceWith(page.getElementById("results"));
    document.getElementById("tally").replaceChildren(...page.getElementById("tally").childNodes); // the same element: a screen reader tells what changes in it
    for (const field of fields) {
      const fresh = page.getElementById("filter").elements[field.name];
      if (field.tagName === "SELECT") field.replaceChildren(...[...fresh.options].map((o) => o.cloneNode(true)));
      if (field !== keep) field.value = fresh.value;
    }
    ready();
  }

  function address() {
    const said = new URLSearchParams();
    for (const field of fields) if (field.value !== "") said.set(field.name, field.value);
    if (said.get("sort") === "date") said.delete("sort");
    return said.size ? "/?" + said : "/";
  }

  function go(to, keep) {
    // one entry of the history for a whole word, not one a letter
    if (keep && typing) history.replaceState(null, "", to); else history.pushState(null, "", to);
    typing = Boolean(keep);
    return show(to, keep);
  }

  function holding(search) {
    const said = new URLSearchParams(search);
    if (held.value) said.set("held", held.value); else said.delete("held");
    return said.size ? "/?" + said : "/";
  }

  function ready() {
    const choice = document.getElementById("choice");
    const boxes = choice ? [...choice.querySelectorAll("input[type=checkbox][name=run]")] : [];
    const elsewhere = choice && choice.querySelector("input[type=hidden][name=run]"); // ticked on another page of the table
    const tell = () => {
      const ticked = [...(elsewhere ? [elsewhere] : []), ...boxes.filter((b) => b.checked)];
      for (const b of boxes) b.disabled = ticked.length >= 2 && !b.checked;
      document.getElementById("compare").disabled = ticked.length !== 2;
      return ticked;
    };
    const keep = () => {
      const ticked = tell().map((b) => b.value);
      if (!ticked.includes(held.value)) held.value = ticked[0] || "";
      history.replaceState(null, "", holding(location.search));
    };
    for (const b of boxes) b.addEventListener("change", keep);
    if (choice) tell();
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); go(address()); });
  form.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") { clearTimeout(timer); go(address()); } });
  form.elements.search.addEventListener("input", (event) => { clearTimeout(timer); timer = setTimeout(() => go(address(), event.target), 200); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#results thead a, #results .pages a, #tally a, #results .drop");
    if (!link || link.pathname !== "/" || link.hash || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const sort = link.closest("th") ? new URLSearchParams(link.search).get("sort") || "date" : "";
    const again = sort && `#results thead .c-${sort} a`; // the keyboard stays on the heading
    if (link.className === "drop") held.value = "";
    go(holding(link.search)).then(() => { if (again) document.querySelector(again)?.focus(); });
  });
  addEventListener("popstate", () => {
    if (location.hash) return;
    typing = false;
    const said = new URLSearchParams(location.search);
    for (const field of fields) field.value = said.get(field.name) || (field.name === "sort" ? "date" : "");
    show(location.pathname + location.search);
  });
  document.addEventListener("visibilitychange", () => {
    // whoever comes back to the tab sees what runs have written meanwhile, unless something of the table is in use
    const used = document.activeElement.closest("#results") || document.querySelectorAll("#results input:checked").length > 1;
    if (document.visibilityState === "visible" && !used) show(location.pathname + location.search, form.elements.search);
  });
  addEventListener("pageshow", ready); // ticks come back with the back button
})();
