// Shows the server's OpenAPI document, dark or light as the system is.
const dark = matchMedia("(prefers-color-scheme: dark)");
const dress = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", dress);
dress();

window.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reader",
  deepLinking: true,
  // Without this the document's address is sent to a validator elsewhere.
  validatorUrl: null,
  defaultModelsExpandDepth: 0,
});
