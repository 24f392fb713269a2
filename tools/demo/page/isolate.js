// If the server does not set the headers of serve.py, a service worker does, so that WebAssembly has threads.

if (!crossOriginIsolated && window.isSecureContext && "serviceWorker" in navigator) {
  try {
    await navigator.serviceWorker.register("service-worker.js");
    await navigator.serviceWorker.ready;
    // Only once: a browser in which this does not isolate the page would reload it forever.
    if (!sessionStorage.getItem("isolated")) {
      sessionStorage.setItem("isolated", "tried");
      location.reload();
    }
  } catch (error) {
    console.warn(`Without threads: ${error.message}`);
  }
}
