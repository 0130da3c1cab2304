"use strict";
(() => {
  const all = (words, within = document) => [...within.querySelectorAll(words)];
  const by = (id) => document.getElementById(id);
  const hosts = all("[data-host]");

  // Light, dark, or as the system has it; kept for this page only.
  const scheme = by("scheme");
  const schemes = ["system", "light", "dark"];
  let chosen = 0;
  scheme.hidden = false;
  scheme.addEventListener("click", () => {
    chosen = (chosen + 1) % schemes.length;
    document.documentElement.dataset.scheme = schemes[chosen];
    scheme.textContent = `Scheme: ${schemes[chosen]}`;
    scheme.setAttribute("aria-label", `Colour scheme: ${chosen ? schemes[chosen] : "as the system"}`);
  });

  // Every word must stand in the host's name or in one of its differences or findings.
  const words = by("words");
  const status = by("status");
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const holds = (text) => wanted.every((word) => text.includes(word));
    let shown = 0;
    let findings = 0;
    let differences = 0;
    for (const host of hosts) {
      const name = host.dataset.host.toLowerCase();
      const own = all("[data-difference], [data-finding]", host);
      const fits = own.map((item) => holds(`${name} ${item.textContent.toLowerCase()}`));
      const here = (!status.value || host.dataset.status === status.value)
        && (fits.includes(true) || holds(host.textContent.toLowerCase()));
      own.forEach((item, at) => { item.hidden = fits.includes(true) && !fits[at]; });
      host.hidden = !here;
      if (here) {
        shown += 1;
        const seen = own.filter((item) => !item.hidden);
        findings += seen.filter((item) => "finding" in item.dataset).length;
        differences += seen.filter((item) => "difference" in item.dataset).length;
      }
    }
    const compared = by("drift") ? `, ${differences} differences` : "";
    by("shown").textContent = `${shown} of ${hosts.length} hosts${compared}, ${findings} findings`;
  };
  by("filter").hidden = hosts.length < 2;
  by("filter").addEventListener("submit", (event) => event.preventDefault());
  words.addEventListener("input", filter);
  status.addEventListener("change", filter);
  filter();

  const open = (value) => hosts.filter((host) => !host.hidden).forEach((host) => { host.open = value; });
  by("open").addEventListener("click", () => open(true));
  by("close").addEventListener("click", () => open(false));

  // A link to a host opens it.
  const follow = () => {
    const target = by(decodeURIComponent(location.hash.slice(1)));
    if (target instanceof HTMLDetailsElement) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  follow();
})();
