// On a plain-http address the browser offers no clipboard; a selection can still be copied there.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    const area = document.createElement("textarea")
    area.value = text
    area.style.position = "fixed"
    area.style.opacity = "0"
    document.body.append(area)
    area.select()
    const done = document.execCommand("copy")
    area.remove()
    return done
  }
}

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button")
  const said = parentElement.querySelector("span")
  let timer
  button.onclick = async () => {
    said.textContent = (await copy(data.text)) ? "Copied" : "Copying is blocked by the browser"
    clearTimeout(timer)
    timer = setTimeout(() => (said.textContent = ""), 2000)
  }
  return () => clearTimeout(timer)
}
