// Makes the table of runs smoother: the same addresses without loading whole pages. Without this script every form and link works as it is.
"use strict";
(() => {
  const form = document.getElementById("filter");
  if (!form) return;
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

  function ready() {
    const choice = document.getElementById("choice");
    const boxes = choice ? [...choice.querySelectorAll("input[name=run]")] : [];
    const tell = () => {
      const n = boxes.filter((b) => b.checked).length;
      for (const b of boxes) b.disabled = n >= 2 && !b.checked;
      document.getElementById("compare").disabled = n !== 2;
    };
    for (const b of boxes) b.addEventListener("change", tell);
    if (choice) tell();
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); go(address()); });
  form.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") { clearTimeout(timer); go(address()); } });
  form.elements.search.addEventListener("input", (event) => { clearTimeout(timer); timer = setTimeout(() => go(address(), event.target), 200); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("#results thead a, #results .pages a, #tally a");
    if (!link || link.pathname !== "/" || link.hash || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const sort = link.closest("th") ? new URLSearchParams(link.search).get("sort") || "date" : "";
    const again = sort && `#results thead .c-${sort} a`; // the keyboard stays on the heading
    go(link.pathname + link.search).then(() => { if (again) document.querySelector(again)?.focus(); });
  });
  addEventListener("popstate", () => {
    if (location.hash) return;
    typing = false;
    const said = new URLSearchParams(location.search);
    for (const field of fields) field.value = said.get(field.name) || (field.name === "sort" ? "date" : "");
    show(location.pathname + location.search);
  });
  addEventListener("pageshow", ready); // ticks come back with the back button
})();
