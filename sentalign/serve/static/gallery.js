// Example X-rays, each with a sentence that is true of it.

import * as api from "./api.js";

// `open(number, sentences)` is called on a click.
export async function showGallery(gallery, open) {
  const examples = await api.examples();
  examples.forEach(async ({ sentences }, number) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    const image = Object.assign(document.createElement("img"), { alt: "" });
    button.append(image, sentences[0]);
    button.addEventListener("click", () => open(number, sentences));
    gallery.append(button);
    image.src = URL.createObjectURL(await api.thumbnail(number));
  });
}
