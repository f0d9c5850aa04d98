// Loaded before anything is painted, so that a chosen theme does not flash up late.
try { const theme = localStorage.getItem("theme"); if (theme) document.documentElement.dataset.theme = theme; } catch { /* private mode */ }
