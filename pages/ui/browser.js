// Runs in the page, once for each change of `data`; one-time work is guarded by the state kept on the element.
const states = new WeakMap()

function textarea() {
  return document.querySelector(".st-key-chat_input textarea")
}

// React keeps its own value of an input: it notices a change only through the native setter and an event.
function type(area, text) {
  Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set.call(area, text)
  area.dispatchEvent(new Event("input", { bubbles: true }))
}

function store(key, text) {
  try {
    if (text) localStorage.setItem(key, text)
    else localStorage.removeItem(key)
  } catch {
    // Storage may be switched off or full: then there is no draft.
  }
}

// Sending clears the input without an input event, and the next run may already show another conversation.
function forgetSent(state) {
  const key = state.key
  setTimeout(() => {
    const area = textarea()
    if (!area || !area.value) store(key, "")
  }, 0)
}

function restore(state) {
  const area = textarea()
  if (!area || (state.restored === state.key && state.area === area)) return
  state.restored = state.key
  state.area = area
  let draft = null
  try {
    draft = localStorage.getItem(state.key)
  } catch {
    return
  }
  if (draft && !area.value) type(area, draft)
  if (window.matchMedia("(pointer: fine)").matches && document.activeElement === document.body) area.focus()
}

function watchConnection(state) {
  const app = document.querySelector("[data-testid='stApp']")
  if (!app) return
  const look = () => {
    const now = app.getAttribute("data-test-connection-state")
    const down = now !== null && now !== "CONNECTED" && now !== "INITIAL" && now !== "STATIC_CONNECTED"
    clearTimeout(state.timer)
    // A blink is not worth a banner.
    if (down) state.timer = setTimeout(() => show(state, true), 700)
    else show(state, false)
  }
  state.observer = new MutationObserver(look)
  state.observer.observe(app, { attributes: true, attributeFilter: ["data-test-connection-state"] })
  look()
}

function show(state, down) {
  state.banner.hidden = !down
  state.banner.textContent = down
    ? "The connection is down. Trying again… A reply that is being written goes on, and nothing is lost."
    : ""
}

export default function ({ data, parentElement }) {
  let state = states.get(parentElement)
  if (!state) {
    state = { banner: parentElement.querySelector(".banner") }
    states.set(parentElement, state)
    state.onInput = (event) => {
      if (event.target === textarea()) store(state.key, event.target.value)
    }
    document.addEventListener("input", state.onInput)
    state.onKey = (event) => {
      if (event.target === textarea() && event.key === "Enter" && !event.shiftKey && !event.isComposing) forgetSent(state)
    }
    state.onClick = (event) => {
      if (event.target.closest && event.target.closest("[data-testid='stChatInputSubmitButton']")) forgetSent(state)
    }
    document.addEventListener("keydown", state.onKey)
    document.addEventListener("click", state.onClick)
    watchConnection(state)
  }
  state.key = data.draft
  // What was typed before this script had come is kept too.
  clearInterval(state.poll)
  state.poll = setInterval(() => {
    const area = textarea()
    if (!area) return
    restore(state)
    if (area.value) store(state.key, area.value)
  }, 500)
  restore(state)
  return () => {
    document.removeEventListener("input", state.onInput)
    document.removeEventListener("keydown", state.onKey)
    document.removeEventListener("click", state.onClick)
    clearInterval(state.poll)
    clearTimeout(state.timer)
    if (state.observer) state.observer.disconnect()
    states.delete(parentElement)
  }
}
