/** A value together with its GVariant type string. */
export class Variant<T = unknown> {
  readonly type: string;
  readonly value: T;

  constructor(type: string, value: T) {
    this.type = type;
    this.value = value;
  }
}

/**
 * The value of a maybe whose item is a maybe too: there `undefined` alone could not say which of them is nothing.
 * `mmi`: `undefined` is nothing, `new Just(undefined)` is just nothing, `new Just(4)` is 4.
 */
export class Just<T = unknown> {
  readonly value: T;

  constructor(value: T) {
    this.value = value;
  }
}
