/** A value together with its GVariant type string. */
export class Variant<T = unknown> {
  readonly type: string;
  readonly value: T;

  constructor(type: string, value: T) {
    this.type = type;
    this.value = value;
  }
}
