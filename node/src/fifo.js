'use strict'
// First in, first out; an array's shift moves everything behind it.

class Fifo {
  #items = []
  #head = 0

  get length() {
    return this.#items.length - this.#head
  }

  push(...items) {
    for (const item of items) this.#items.push(item)
  }

  /** All of an array, which nobody else uses from then on. */
  take(items) {
    if (this.length > 0) {
      for (const item of items) this.#items.push(item)
      return
    }
    this.#items = items
    this.#head = 0
  }

  peek() {
    return this.#items[this.#head]
  }

  shift() {
    if (this.length === 0) return undefined
    const item = this.#items[this.#head]
    this.#items[this.#head++] = undefined
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  remove(item) {
    const at = this.#items.indexOf(item, this.#head)
    if (at >= 0) this.#items.splice(at, 1)
  }

  /** Everything; then it is empty. */
  drain() {
    const items = this.#items.slice(this.#head)
    this.#items = []
    this.#head = 0
    return items
  }
}

module.exports = { Fifo }
