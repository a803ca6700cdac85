// The pages work without this. With it, times are also shown in the reader's own zone from the first visit on, a
// refusal is read out first, and a button that was pressed says so.
"use strict";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function zoneOfBrowser() {
  try {
    return Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  } catch {
    return "";
  }
}

function parts(instant, zone) {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: zone, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit",
  });
  const found = Object.fromEntries(format.formatToParts(new Date(instant)).map((part) => [part.type, part.value]));
  return { day: `${found.day} ${MONTHS[found.month - 1]} ${found.year}`, time: `${found.hour}:${found.minute}` };
}

function localText(from, until, zone) {
  const first = parts(from, zone);
  const start = `${first.day}, ${first.time}`;
  if (!until) return `${start} ${zone}`;
  const last = parts(until, zone);
  return `${start} – ${last.day === first.day ? last.time : `${last.day}, ${last.time}`} ${zone}`;
}

const hasChosen = document.cookie.split("; ").some((cookie) => cookie.startsWith("time_zone="));
const zone = zoneOfBrowser();
if (!hasChosen && /^[A-Za-z0-9_+\-/]+$/.test(zone)) {
  document.cookie = `time_zone=${zone}; path=/; max-age=31536000; samesite=lax`;
  if (zone !== "UTC") {
    for (const element of document.querySelectorAll(".local[data-from]")) {
      element.textContent = localText(element.dataset.from, element.dataset.until, zone);
    }
    for (const element of document.querySelectorAll("[data-zone]")) element.textContent = `UTC and ${zone}`;
  }
}

document.querySelector("[data-focus]")?.focus();

for (const form of document.querySelectorAll("form[data-busy]")) {
  form.addEventListener("submit", () => {
    const button = form.querySelector("button[type=submit]");
    button.setAttribute("aria-disabled", "true");
    button.textContent = form.dataset.busy;
  });
}
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
