// Requests to the server. A failure is an Error whose message is for the person at the page.

const token = takeToken();

// A token comes once behind the address, #token=..., where no server or proxy sees it, and is kept for this tab alone.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem("token", given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem("token");
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer; is it still running?");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({ error: `status ${response.status}` }));
  const failure = new Error(response.status === 401 ? "Open the page with #token=… behind its address." : sentence(error));
  failure.status = response.status;
  throw failure;
}

const sentence = (text) => text[0].toUpperCase() + text.slice(1) + ".";
const json = (body) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const about = async () => (await request("api/about")).json();
export const examples = async () => (await request("api/examples")).json();
export const thumbnail = async (number) => (await request(`api/examples/${number}/thumbnail`)).blob();
export const exampleFile = async (number) => (await request(`api/examples/${number}/file`)).blob();

// A file on the server. The server forgets it after a while; then it is sent again.
export class OpenFile {
  static async open(blob) {
    const file = new OpenFile();
    file.blob = blob;
    await file.send();
    return file;
  }

  async send() {
    try {
      await this.blob.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error("The file can no longer be read; choose it again.");
    }
    this.info = await (await request("api/pictures", { method: "POST", body: this.blob })).json();
  }

  async ask(path, body) {
    try {
      return await request(`api/pictures/${this.info.name}/${path}`, body && json(body));
    } catch (error) {
      if (error.status !== 404 || this.closed) throw error;
      this.sending ??= this.send().finally(() => (this.sending = null)); // once for all who ask meanwhile
      await this.sending;
      return request(`api/pictures/${this.info.name}/${path}`, body && json(body));
    }
  }

  // 16-bit values of the pixels, row by row.
  async values() {
    return new Uint16Array(await (await this.ask("values")).arrayBuffer());
  }

  async find(text) {
    const found = await (await this.ask("findings", { sentence: text })).json();
    const bytes = Uint8Array.from(atob(found.raster.values), (letter) => letter.charCodeAt(0));
    found.raster.values = new Uint16Array(bytes.buffer);
    return found;
  }

  async segmentation(sentences, level) {
    return (await this.ask("segmentation", { sentences, level })).blob();
  }

  close() {
    this.closed = true;
    request(`api/pictures/${this.info.name}/close`, { method: "POST", keepalive: true }).catch(() => {});
  }
}
