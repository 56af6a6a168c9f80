// What a person has set, with undo and redo: a list of states that are never changed.

export class Changes {
  constructor(first) {
    this.past = [];
    this.future = [];
    this.now = first;
  }

  // A new state; `live` ones, such as those of a slider on its way, replace each other.
  set(part, live = false) {
    if (!(this.live && live)) {
      this.past.push(this.now);
      this.future = [];
    }
    this.live = live;
    this.now = { ...this.now, ...part };
  }

  // The end of a live change.
  settle() {
    this.live = false;
  }

  undo() {
    this.settle();
    if (this.past.length) {
      this.future.push(this.now);
      this.now = this.past.pop();
    }
  }

  redo() {
    if (this.future.length) {
      this.past.push(this.now);
      this.now = this.future.pop();
    }
  }
}
