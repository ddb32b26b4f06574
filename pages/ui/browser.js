// Runs in the page, once for each change of `data`; one-time work is guarded by the state kept on the element.
const states = new WeakMap()
// What outlives the element, which some runs make anew: the conversation, what was put back, what is being rewritten.
const memory = { key: null, returned: null, rewritten: null, target: null, editing: null, copied: null }

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

function scroller() {
  return document.querySelector("[data-testid='stAppScrollToBottomContainer']") || document.querySelector("[data-testid='stMain']")
}

function toEnd() {
  const box = scroller()
  if (box) box.scrollTo({ top: box.scrollHeight })
}

// Who scrolled up and sends wants to see the question: the page follows it, and from there on Streamlit does.
function followSent() {
  const files = document.querySelector(".st-key-chat_input [data-testid='stFileChip']")
  if (textarea()?.value.trim() || files) for (const wait of [0, 150, 500]) setTimeout(toEnd, wait)
}

function lookAtEnd(state) {
  const box = scroller()
  if (!box) return
  const away = box.scrollHeight - box.scrollTop - box.clientHeight
  state.end.hidden = away < 300 || !textarea()
  if (state.end.hidden) return
  const main = box.getBoundingClientRect()
  const bottom = document.querySelector("[data-testid='stBottom']")?.getBoundingClientRect()
  state.end.style.left = `${main.left + main.width / 2}px`
  state.end.style.bottom = `${window.innerHeight - (bottom ? bottom.top : main.bottom) + 8}px`
}

// On a phone the sidebar lies over the chat: it goes once something was chosen in it.
function closeDrawer() {
  if (!window.matchMedia("(max-width: 768px)").matches) return
  const open = document.querySelector("[data-testid='stSidebar'][data-collapsed='false']")
  open?.querySelector("[data-testid='stSidebarCollapseButton'] button")?.click()
}

function putBack(returned) {
  if (!returned || memory.returned === returned.id) return
  const area = textarea()
  if (!area) return
  memory.returned = returned.id
  type(area, area.value.trim() ? `${area.value}\n${returned.text}` : returned.text)
  area.focus()
}

function bringIntoView(selector) {
  const found = document.querySelector(selector)
  const box = found?.getBoundingClientRect()
  if (box && (box.top < 0 || box.top > window.innerHeight * 0.7)) found.scrollIntoView({ block: "center" })
}

// The message that a search or a link leads to.
function findTarget(target) {
  if (!target) memory.target = null
  const found = target && memory.target !== target && document.querySelector(".st-key-target")
  if (!found) return
  memory.target = target
  // Streamlit scrolls to the end by itself, smoothly: who looks for a message is brought back until that is over.
  let chasing = true
  for (const hand of ["wheel", "touchstart", "keydown", "pointerdown"])
    document.addEventListener(hand, () => (chasing = false), { once: true, capture: true, passive: true })
  for (let wait = 0; wait < 5000; wait += 150) setTimeout(() => chasing && bringIntoView(".st-key-target"), wait)
}

// The editor of a question that was asked for: in view, with the caret at its end.
function findEditor(editing, tries = 10) {
  if (!editing) memory.editing = null
  if (!editing || memory.editing === editing) return
  const area = document.querySelector(".st-key-editor textarea")
  if (!area) {
    if (tries) setTimeout(() => findEditor(editing, tries - 1), 100)
    return
  }
  memory.editing = editing
  const show = () => area.scrollIntoView({ block: "center" })
  area.focus({ preventScroll: true })
  area.setSelectionRange(area.value.length, area.value.length)
  for (const wait of [0, 200, 600]) setTimeout(show, wait)
}

function copyOnce(copied, banner) {
  if (!copied || memory.copied === copied.id) return
  memory.copied = copied.id
  const say = (text) => {
    banner.hidden = false
    banner.textContent = text
    setTimeout(() => (banner.hidden = true), 1500)
  }
  if (!navigator.clipboard) return say("Copying needs https, or this machine itself.")
  navigator.clipboard.writeText(copied.text).then(() => say("Copied"), () => say("The browser did not allow copying."))
}

// A waiting question that somebody rewrites may be answered meanwhile: then its row goes, and the words would with it.
function rewriting(area) {
  const row = area.closest("[class*='st-key-queued-text-']")
  const name = row && [...row.classList].find((one) => one.startsWith("st-key-queued-text-"))
  if (name) memory.rewritten = { row: name.replace("queued-text-", "queued-"), key: memory.key, text: area.value }
}

function keepRewritten() {
  const mine = memory.rewritten
  if (!mine || document.querySelector(`.${CSS.escape(mine.row)}`)) return
  memory.rewritten = null
  if (mine.key === memory.key) putBack({ id: mine.row + mine.text, text: mine.text })
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
  state.banner.textContent = down ? "The connection is down. Trying again… What has been written is kept." : ""
  const main = document.querySelector("[data-testid='stMain']")?.getBoundingClientRect()
  if (main) state.banner.style.left = `${main.left + main.width / 2}px`
}

export default function ({ data, parentElement }) {
  let state = states.get(parentElement)
  if (!state) {
    state = { banner: parentElement.querySelector(".banner"), end: parentElement.querySelector(".end") }
    states.set(parentElement, state)
    state.onInput = (event) => {
      if (event.target === textarea()) store(state.key, event.target.value)
      else if (event.target.tagName === "TEXTAREA") rewriting(event.target)
    }
    document.addEventListener("input", state.onInput)
    state.onKey = (event) => {
      if (event.target === textarea() && event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        followSent()
        forgetSent(state)
      }
    }
    state.onClick = (event) => {
      const on = (selector) => event.target.closest?.(selector)
      if (on("[data-testid='stChatInputSubmitButton']")) {
        followSent()
        forgetSent(state)
      }
      if (on(".st-key-new_chat button, .st-key-search button, [class*='st-key-open-'] button")) setTimeout(closeDrawer, 0)
      if (on("[class*='st-key-save-'] button, [class*='st-key-withdraw-'] button")) memory.rewritten = null
    }
    state.onScroll = () => lookAtEnd(state)
    state.end.onclick = () => scroller()?.scrollTo({ top: scroller().scrollHeight, behavior: "smooth" })
    document.addEventListener("scroll", state.onScroll, { capture: true, passive: true })
    window.addEventListener("resize", state.onScroll)
    // Before Streamlit's own listener empties the input.
    document.addEventListener("keydown", state.onKey, true)
    document.addEventListener("click", state.onClick, true)
    watchConnection(state)
  }
  if (memory.key !== data.draft) closeDrawer()
  memory.key = data.draft
  state.key = data.draft
  // What was typed before this script had come is kept too.
  clearInterval(state.poll)
  state.poll = setInterval(() => {
    const area = textarea()
    if (!area) return
    restore(state)
    if (area.value) store(state.key, area.value)
    keepRewritten()
    lookAtEnd(state)
  }, 500)
  restore(state)
  putBack(data.returned)
  findTarget(data.target)
  findEditor(data.editing)
  copyOnce(data.copied, state.banner)
  return () => {
    document.removeEventListener("input", state.onInput)
    document.removeEventListener("keydown", state.onKey, true)
    document.removeEventListener("click", state.onClick, true)
    document.removeEventListener("scroll", state.onScroll, { capture: true })
    window.removeEventListener("resize", state.onScroll)
    clearInterval(state.poll)
    clearTimeout(state.timer)
    if (state.observer) state.observer.disconnect()
    states.delete(parentElement)
  }
}
