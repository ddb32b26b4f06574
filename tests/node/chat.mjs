// One conversation by npm's own `ai`: node chat.mjs URL KEY MODEL. Prints what the client saw, one JSON object.
import { AbstractChat, DefaultChatTransport } from "ai"

const [url, key, model] = process.argv.slice(2)
const seen = { errors: [] }

class State {
  status = "ready"
  error = undefined
  messages = []
  pushMessage = (message) => { this.messages = [...this.messages, message] }
  popMessage = () => { this.messages = this.messages.slice(0, -1) }
  replaceMessage = (index, message) => { this.messages = this.messages.with(index, message) }
  snapshot = (value) => structuredClone(value)
}

class Chat extends AbstractChat {
  constructor(options) { super({ ...options, state: new State() }) }
}

const transport = new DefaultChatTransport({
  api: `${url}/api/chat`, headers: { Authorization: `Bearer ${key}` }, body: { model },
})
const chat = new Chat({ id: "made-by-node", transport, onError: (error) => seen.errors.push(error.message) })

const look = () => {
  const parts = chat.lastMessage.parts
  const words = (type) => parts.filter((part) => part.type === type).map((part) => part.text).join("")
  return {
    id: chat.lastMessage.id, status: chat.status, messages: chat.messages.length, text: words("text"),
    reasoning: words("reasoning"), tools: parts.filter((part) => part.type === "dynamic-tool"),
    metadata: chat.lastMessage.metadata ?? {},
  }
}

await chat.sendMessage({ text: "hello" })
seen.asked = look()
await chat.regenerate()
seen.regenerated = look()
await chat.sendMessage({ text: "hello, better", messageId: chat.messages[0].id })
seen.edited = look()
let over = false
const going = chat.sendMessage({ text: "and then?" }).finally(() => { over = true })
while (chat.status !== "streaming" && !over) await new Promise((done) => setTimeout(done, 5))
await chat.stop() // the client's own: it hangs up, and the reply is written on
await going
seen.cut = look()
await chat.resumeStream()
seen.resumed = look()
console.log(JSON.stringify(seen))
