// Loads the page again if one of its files did not arrive, as on a weak radio link: a page must not just stay as it is.
// Not a module: it must be there before the modules are fetched, and depends on none of them.

/** Milliseconds until then; arbitrary. */
const RELOAD_MS = 2000;

addEventListener(
  "error",
  (event) => {
    // the error of a script that runs has the window as its target
    if (!(event.target instanceof HTMLScriptElement || event.target instanceof HTMLLinkElement)) return;
    const show = () => {
      const state = document.getElementById("state");
      if (state) state.textContent = "a part of this page did not arrive; trying again ...";
    };
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", show);
    else show();
    setTimeout(() => location.reload(), RELOAD_MS);
  },
  true,
);
