// Light or dark: as the system has it, or as the switch was set.

import { effect, signal } from "@preact/signals";

export type Theme = "auto" | "light" | "dark";

const key = "breakwater.theme";
const themes: Theme[] = ["auto", "light", "dark"];

function stored(): Theme {
  try {
    const value = localStorage.getItem(key) as Theme;
    return themes.includes(value) ? value : "auto";
  } catch {
    return "auto";
  }
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");
const system = signal(systemDark.matches);
systemDark.addEventListener("change", (e) => {
  system.value = e.matches;
});

export const theme = signal<Theme>(stored());

/** isDark is what is shown. */
export const isDark = () => (theme.value === "auto" ? system.value : theme.value === "dark");

effect(() => {
  document.documentElement.dataset["theme"] = isDark() ? "dark" : "light";
});

/** turn goes on to the next theme. */
export function turn(): void {
  theme.value = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? "auto";
  try {
    localStorage.setItem(key, theme.value);
  } catch {
    // Storage is forbidden: the theme holds for this visit.
  }
}
