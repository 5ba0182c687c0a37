/** Sends in one message all that comes in one turn of the event loop: tables that are looked at together ask together. */
export class Outbox<Item> {
  private items: Item[] = [];

  constructor(private readonly send: (items: Item[]) => void) {}

  add(item: Item): void {
    this.items.push(item);
    if (this.items.length === 1) setImmediate(() => this.send(this.items.splice(0)));
  }
}
