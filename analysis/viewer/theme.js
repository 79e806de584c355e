// Light and dark.

/** The page's colours as numbers for the cells and as CSS for the pens; they follow light and dark. */
export function colours(root) {
  const theme = { dish: [255, 255, 255], ink: [0, 0, 0], css: {} };
  const parse = (hex) => [1, 3, 5].map((n) => parseInt(hex.slice(n, n + 2), 16));
  const read = () => {
    const style = getComputedStyle(root);
    for (const name of ["paper", "ink", "soft", "line", "card", "accent", "blue", "dish"]) theme.css[name] = style.getPropertyValue(`--${name}`).trim();
    theme.css.font = style.fontFamily;
    [theme.dish, theme.ink] = [parse(theme.css.dish), parse(theme.css.ink)];
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  theme.heed = (then) => {
    read();
    dark.addEventListener("change", () => {
      read();
      then();
    });
  };
  theme.flip = (then) => {
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    read();
    then();
  };
  return theme;
}
