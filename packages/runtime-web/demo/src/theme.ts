// Light, dark, or what the system says. The style sheet does the rest.

const KEY = 'duobit.theme';
const THEMES = ['auto', 'light', 'dark'] as const;
export type Theme = (typeof THEMES)[number];

function toTheme(found: string | null): Theme {
  return THEMES.find((theme) => theme === found) ?? 'auto';
}

export function readTheme(): Theme {
  try {
    return toTheme(localStorage.getItem(KEY));
  } catch {
    return 'auto';
  }
}

export function nextTheme(theme: Theme): Theme {
  return THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!;
}

export function applyTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It holds for this visit.
  }
  // Canvases are painted in the scheme's colours.
  document.dispatchEvent(new Event('themechange'));
}
