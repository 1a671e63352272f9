// The images of the case: chosen, dropped or pasted, shown, and taken away again.

/** Images as data URLs, in order. `changed` is called with each change, `failed` with words when a file is none. */
export class Images {
  #urls = [];

  constructor({ input, drop, list, changed, failed }) {
    Object.assign(this, { input, list, changed, failed });
    input.addEventListener("change", () => {
      this.#take(input.files);
      input.value = ""; // so that the same file can be chosen again
    });
    document.addEventListener("paste", ({ clipboardData: pasted }) => {
      // What also has text, as cells of a table do, was meant as text.
      if (pasted && !pasted.types.includes("text/plain")) {
        this.#take(pasted.files);
      }
    });
    const over = (event) => {
      if (!event.dataTransfer?.types.includes("Files")) {
        return; // text that is dragged into a field
      }
      event.preventDefault(); // else the browser would leave the page for a file that misses the area
      drop.classList.toggle("over", event.type !== "drop" && drop.contains(event.target));
      if (event.type === "drop") {
        this.#take(event.dataTransfer.files);
      }
    };
    for (const kind of ["dragenter", "dragover", "drop"]) {
      document.addEventListener(kind, over);
    }
    document.addEventListener("dragleave", (event) => event.relatedTarget ?? drop.classList.remove("over"));
  }

  get urls() {
    return [...this.#urls];
  }

  set urls(urls) {
    this.#urls = [...urls];
    this.#show();
  }

  async #take(files) {
    for (const file of [...files]) {
      if (!file.type.startsWith("image/")) {
        this.failed(`${file.name || "What was given"} is no image.`);
        continue;
      }
      try {
        const url = await asDataUrl(file);
        this.urls = [...this.#urls, url];
      } catch {
        this.failed(`${file.name} cannot be read.`);
      }
    }
  }

  #show() {
    this.list.replaceChildren(...this.#urls.map((url, index) => {
      const image = document.createElement("img");
      image.src = url;
      image.alt = `Image ${index + 1}`;
      const remove = document.createElement("button");
      remove.type = "button";
      remove.textContent = "×";
      remove.setAttribute("aria-label", `Remove image ${index + 1}`);
      remove.addEventListener("click", () => {
        this.urls = this.#urls.filter((_, other) => other !== index);
        (this.list.querySelectorAll("button")[Math.min(index, this.#urls.length - 1)] ?? this.input).focus();
      });
      const item = document.createElement("li");
      item.append(image, remove);
      return item;
    }));
    this.changed();
  }
}

/** The bytes of a file or blob as a data URL. */
export const asDataUrl = (blob) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.addEventListener("load", () => resolve(reader.result));
  reader.addEventListener("error", () => reject(reader.error));
  reader.readAsDataURL(blob);
});
