"use strict";
// The microphone to the WebSocket, and what comes back to the page. A token, where intentd asks for
// one, stands behind # in the page's address, which browsers keep to themselves.

const EVENTS = 50;
const UNSENT_BYTES = 1 << 19;
const element = (id) => document.getElementById(id);
let session = null;

function say(text, error = false) {
  element("state").textContent = text;
  element("state").className = error ? "error" : "";
}

function streamAddress(rate) {
  const address = new URL("stream", location.href.replace(/[?#].*/, ""));
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  address.search = new URLSearchParams({ rate, channels: 1 });
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token) address.searchParams.set("token", token);
  return address;
}

class Bars {
  constructor(model) {
    this.thresholds = model.thresholds;
    this.rows = new Map();
    element("bars").replaceChildren();
    for (const label of model.labels) {
      const row = document.createElement("div");
      row.className = "bar";
      row.dataset.label = label;
      const [name, bar, value] = ["span", "progress", "span"].map((tag) => {
        return row.appendChild(document.createElement(tag));
      });
      name.className = "name";
      name.textContent = label;
      bar.max = 1;
      bar.value = 0;
      bar.setAttribute("aria-label", label);
      value.className = "value";
      element("bars").append(row);
      this.rows.set(label, { row, bar, value, intent: model.intents.includes(label) });
    }
  }

  show(rolling) {
    for (const [label, { row, bar, value, intent }] of this.rows) {
      const score = rolling[label] ?? 0;
      bar.value = score;
      value.textContent = score.toFixed(2);
      row.classList.toggle("over", intent && score >= this.thresholds[label]);
    }
  }
}

function showEvent(event) {
  const item = document.createElement("li");
  for (const [name, text] of [
    ["time", new Date(event.at).toLocaleTimeString()],
    ["intent", event.intent],
    ["score", event.score.toFixed(2)],
  ]) {
    const part = item.appendChild(document.createElement("span"));
    part.className = name;
    part.textContent = text;
  }
  element("events").prepend(item);
  while (element("events").children.length > EVENTS) element("events").lastChild.remove();
}

class Session {
  async start() {
    if (!navigator.mediaDevices) {
      throw new Error("browsers open the microphone for pages of this machine and of https only");
    }
    this.media = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    this.context = new AudioContext();
    await this.context.audioWorklet.addModule("recorder.js");
    this.socket = new WebSocket(streamAddress(this.context.sampleRate));
    this.socket.binaryType = "arraybuffer";
    this.socket.onmessage = (message) => this.take(JSON.parse(message.data));
    this.socket.onclose = () => this.end("intentd has ended the connection", true);
    await new Promise((resolve, reject) => {
      this.socket.onopen = resolve;
      this.socket.onerror = () => reject(new Error("intentd refused: is the token right?"));
    });
    const recorder = new AudioWorkletNode(this.context, "recorder");
    recorder.port.onmessage = ({ data }) => this.send(data);
    this.context.createMediaStreamSource(this.media).connect(recorder);
    await this.context.resume();
    say("Listening. Sound goes to intentd as long as this page is open, and is kept nowhere.");
  }

  send({ pcm, peak }) {
    element("level").value = Math.max(0, 1 + Math.log10(Math.max(peak, 1e-3)) / 3);
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > UNSENT_BYTES) {
      this.end("The connection is too slow for the sound.", true);
      return;
    }
    this.socket.send(pcm);
  }

  take(line) {
    if (line.type === "model") {
      element("model").textContent = line.model;
      this.bars = new Bars(line);
    } else if (line.type === "prediction") {
      this.bars.show(line.rolling);
    } else if (line.type === "event") {
      showEvent(line);
    } else if (line.type === "gap") {
      say(`Sound was lost: ${line.reason}.`, true);
    }
  }

  end(text, error = false) {
    if (session === this) session = null;
    if (this.socket) {
      this.socket.onclose = this.socket.onerror = null;
      if (this.socket.readyState === WebSocket.OPEN) this.socket.send("");
      this.socket.close();
    }
    if (this.media) this.media.getTracks().forEach((track) => track.stop());
    if (this.context) this.context.close();
    element("level").value = 0;
    element("listen").textContent = "Listen";
    say(text, error);
  }
}

element("listen").addEventListener("click", async () => {
  if (session) {
    session.end("Stopped.");
    return;
  }
  const mine = (session = new Session());
  element("listen").textContent = "Stop";
  try {
    await mine.start();
  } catch (error) {
    if (session === mine) mine.end(`It can't listen: ${error.message || error}`, true);
  }
});
