// Add the headers of serve.py to every answer of the page's own server. Cache nothing, and request nothing else.

importScripts("headers.js"); // HEADERS

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  if (new URL(event.request.url).origin === self.location.origin) {
    event.respondWith(withHeaders(event.request));
  }
});

async function withHeaders(request) {
  const response = await fetch(request);
  const headers = new Headers(response.headers);
  Object.entries(HEADERS).forEach(([name, value]) => headers.set(name, value));
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}
