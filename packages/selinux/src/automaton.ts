/**
 * Many patterns at once over one text, in time that grows with the text and not with how often a pattern could be tried.
 *
 * Patterns become one nondeterministic automaton. What they begin with letter by letter stands in a tree, so that the
 * thousands that begin elsewhere cost nothing; the rest is determinised as texts ask for it, and kept up to a limit.
 */
import { selinuxError } from './errors.ts';
import { type ByteSet, type Pattern, parsePattern } from './pattern.ts';

const BYTE = 0; // first: the byte, second: next
const SET = 1; // first: index of a set, second: next
const ANY = 2; // second: next
const SPLIT = 3; // both are next
const START = 4; // second: next
const END = 5; // second: next
const VERY_END = 6; // second: next
const MATCH = 7; // first: number of the pattern

/** A policy of 6,000 contexts has some 30,000. Also bounds what one byte of a text can cost. */
const MAX_NODES: number = 1 << 18;
/** Parts of patterns that are looked at: what is repeated may be empty, and make no node. */
const MAX_STEPS: number = 1 << 21;
/** As libselinux since 3.8. */
const MAX_PATTERN = 4096;
/** Kept positions of determinised states, 8 bytes each; when there are more all are forgotten. */
const MAX_KEPT: number = 1 << 20;
const NEWLINE = 0x0a;

interface Branch {
  readonly id: number;
  readonly children: Map<number, Branch>;
  /** Nodes that begin where the letters up to here end. */
  readonly nodes: number[];
}

/** Where the patterns are after some text: in the tree, and at nodes, sorted. */
interface State {
  readonly branch: Branch | undefined;
  readonly nodes: readonly number[];
  /** By class of byte. */
  readonly next: (State | undefined)[];
  /** Which patterns match if the text ends here, last first. */
  matches: readonly number[] | undefined;
}

export class Automaton {
  readonly #ops: number[] = [];
  readonly #first: number[] = [];
  readonly #second: number[] = [];
  readonly #sets: ByteSet[] = [];
  readonly #setIndex = new Map<ByteSet, number>();
  readonly #root: Branch = { id: 0, children: new Map(), nodes: [] };
  #branches = 1;
  #steps = 0;
  /** Bytes that no pattern tells apart have one class. */
  #classOf: Uint8Array = new Uint8Array(0);
  /** A byte of each class. */
  #byteOf: number[] = [];
  #states = new Map<string, State>();
  #kept = 0;
  /** In which look each node was met last. */
  #marks: Uint32Array = new Uint32Array(0);
  #look = 0;
  #initial: State | undefined;

  /** Adds `^TEXT$`. @throws SELINUX_PATTERN_INVALID SELINUX_PATTERN_UNSUPPORTED SELINUX_POLICY_TOO_LARGE */
  add(text: string, number: number): void {
    if (text.length > MAX_PATTERN) throw selinuxError('SELINUX_PATTERN_INVALID', `Invalid pattern "${text.slice(0, 200)}": longer than ${MAX_PATTERN}`);
    const branches = parsePattern(text);
    if (branches.length > 1) {
      this.#addBranches(branches, number);
      return;
    }
    const pattern = branches[0] as Pattern;
    const items = pattern.type === 'sequence' ? pattern.items : [pattern];
    let branch = this.#root;
    let at = 0;
    for (; at < items.length; at++) {
      const item = items[at] as Pattern;
      if (item.type !== 'byte') break;
      branch = this.#child(branch, item.value);
    }
    branch.nodes.push(this.#compile({ type: 'sequence', items: [...items.slice(at), { type: 'end' }] }, this.#node(MATCH, number, 0)));
  }

  /** Makes a pattern that matches everything. */
  addAlways(number: number): void {
    this.#root.nodes.push(this.#node(MATCH, number, 0));
  }

  /**
   * Returns the numbers of the patterns that match a text, highest first.
   *
   * @param text a character for each byte; what is above 0xff is an error of the caller
   */
  matches(text: string): readonly number[] {
    let state = this.#start();
    const length = text.length;
    const endsInNewline = length > 0 && text.charCodeAt(length - 1) === NEWLINE;
    const plain = endsInNewline ? length - 1 : length;
    for (let at = 0; at < plain; at++) {
      const kind = this.#classOf[text.charCodeAt(at)] as number;
      state = state.next[kind] ?? this.#step(state, kind);
    }
    if (endsInNewline) return this.#matchesBeforeNewline(state);
    state.matches ??= this.#matchesOf(this.#follow(state.nodes, { end: true, veryEnd: true }));
    return state.matches;
  }

  /** `$` also fits before a newline that ends the text. */
  #matchesBeforeNewline(state: State): readonly number[] {
    const before = this.#follow(state.nodes, { end: true, veryEnd: false });
    const after = this.#advance({ ...state, nodes: before }, NEWLINE);
    return this.#matchesOf(this.#follow([...this.#matchesIn(before), ...after.nodes], { end: true, veryEnd: true }));
  }

  #matchesIn(nodes: readonly number[]): number[] {
    return nodes.filter((node) => this.#ops[node] === MATCH);
  }

  #matchesOf(nodes: readonly number[]): readonly number[] {
    const numbers = this.#matchesIn(nodes).map((node) => this.#first[node] as number);
    return [...new Set(numbers)].sort((a, b) => b - a);
  }

  /** A branch of `^a|b|c$` other than the first may begin anywhere, and other than the last end anywhere. */
  #addBranches(items: readonly Pattern[], number: number): void {
    const match = this.#node(MATCH, number, 0);
    for (const [i, item] of items.entries()) {
      const last = i === items.length - 1;
      const entry = this.#compile(last ? { type: 'sequence', items: [item, { type: 'end' }] } : item, match);
      if (i === 0) this.#root.nodes.push(entry);
      else this.#root.nodes.push(this.#loop({ type: 'any' }, entry));
    }
  }

  #child(branch: Branch, byte: number): Branch {
    let child = branch.children.get(byte);
    if (child === undefined) {
      child = { id: this.#branches++, children: new Map(), nodes: [] };
      branch.children.set(byte, child);
    }
    return child;
  }

  #node(op: number, first: number, second: number): number {
    if (this.#ops.length === MAX_NODES) throw tooLarge();
    this.#first.push(first);
    this.#second.push(second);
    return this.#ops.push(op) - 1;
  }

  /** Returns the node where a pattern begins that goes on at `next`. */
  #compile(pattern: Pattern, next: number): number {
    if (++this.#steps > MAX_STEPS) throw tooLarge();
    switch (pattern.type) {
      case 'byte':
        return this.#node(BYTE, pattern.value, next);
      case 'set':
        return this.#node(SET, this.#setNumber(pattern.set), next);
      case 'any':
        return this.#node(ANY, 0, next);
      case 'start':
        return this.#node(START, 0, next);
      case 'end':
        return this.#node(END, 0, next);
      case 'veryEnd':
        return this.#node(VERY_END, 0, next);
      case 'sequence':
        return pattern.items.reduceRight((after, item) => this.#compile(item, after), next);
      case 'choice':
        return pattern.items.map((item) => this.#compile(item, next)).reduce((a, b) => this.#node(SPLIT, a, b));
      case 'repeat': {
        const { item, min, max } = pattern;
        let entry = next;
        if (max === Number.POSITIVE_INFINITY) entry = this.#loop(item, next);
        else for (let count = min; count < max; count++) entry = this.#node(SPLIT, this.#compile(item, entry), next);
        for (let count = 0; count < min; count++) entry = this.#compile(item, entry);
        return entry;
      }
    }
  }

  #loop(item: Pattern, next: number): number {
    const split = this.#node(SPLIT, next, next);
    this.#first[split] = this.#compile(item, split);
    return split;
  }

  #setNumber(set: ByteSet): number {
    const known = this.#setIndex.get(set);
    if (known !== undefined) return known;
    this.#setIndex.set(set, this.#sets.length);
    return this.#sets.push(set) - 1;
  }

  #start(): State {
    if (this.#kept > MAX_KEPT) {
      this.#states = new Map();
      this.#kept = 0;
      this.#initial = undefined;
    }
    if (this.#initial === undefined) {
      if (this.#byteOf.length === 0) this.#classify();
      this.#marks = new Uint32Array(this.#ops.length);
      this.#look = 0;
      this.#initial = this.#keep(this.#root, this.#follow(this.#root.nodes, { start: true }));
    }
    return this.#initial;
  }

  #classify(): void {
    let classes = new Uint8Array(256);
    const split = (belongs: (byte: number) => boolean): void => {
      const numbers = new Map<number, number>();
      const refined = new Uint8Array(256);
      for (let byte = 0; byte < 256; byte++) {
        const key = (classes[byte] as number) * 2 + (belongs(byte) ? 1 : 0);
        let number = numbers.get(key);
        if (number === undefined) {
          number = numbers.size;
          numbers.set(key, number);
        }
        refined[byte] = number;
      }
      classes = refined;
    };
    const letters = new Set([NEWLINE]);
    for (const [node, op] of this.#ops.entries()) if (op === BYTE) letters.add(this.#first[node] as number);
    const branches = [this.#root];
    for (let branch = branches.pop(); branch !== undefined; branch = branches.pop()) {
      for (const [byte, child] of branch.children) {
        letters.add(byte);
        branches.push(child);
      }
    }
    for (const letter of letters) split((byte) => byte === letter);
    for (const set of this.#sets) split((byte) => set[byte] === '1');
    this.#classOf = classes;
    for (let byte = 255; byte >= 0; byte--) this.#byteOf[classes[byte] as number] = byte;
  }

  #step(state: State, kind: number): State {
    if (this.#kept > MAX_KEPT) {
      // The state in hand stays usable; those it leads to are found anew.
      this.#states = new Map();
      this.#kept = 0;
      this.#initial = undefined;
      return this.#advance(state, this.#byteOf[kind] as number);
    }
    const next = this.#advance(state, this.#byteOf[kind] as number);
    state.next[kind] = next;
    return next;
  }

  #advance(state: State, byte: number): State {
    const reached: number[] = [];
    for (const node of state.nodes) {
      switch (this.#ops[node]) {
        case BYTE:
          if (this.#first[node] === byte) reached.push(this.#second[node] as number);
          break;
        case SET:
          if ((this.#sets[this.#first[node] as number] as ByteSet)[byte] === '1') reached.push(this.#second[node] as number);
          break;
        case ANY:
          reached.push(this.#second[node] as number);
          break;
        case MATCH:
          // A match that asks for no end stays one.
          reached.push(node);
      }
    }
    const branch = state.branch?.children.get(byte);
    if (branch !== undefined) for (const node of branch.nodes) reached.push(node);
    return this.#keep(branch, this.#follow(reached, {}));
  }

  /** Returns the nodes that wait for something, from some nodes on: sorted, so that equal ones are found equal. */
  #follow(from: readonly number[], passes: { start?: boolean; end?: boolean; veryEnd?: boolean }): number[] {
    const look = ++this.#look;
    const marks = this.#marks;
    const stack = [...from];
    const nodes: number[] = [];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (marks[node] === look) continue;
      marks[node] = look;
      switch (this.#ops[node]) {
        case SPLIT:
          stack.push(this.#second[node] as number, this.#first[node] as number);
          break;
        case START:
          if (passes.start === true) stack.push(this.#second[node] as number);
          break;
        case END:
          if (passes.end === true) stack.push(this.#second[node] as number);
          nodes.push(node);
          break;
        case VERY_END:
          if (passes.veryEnd === true) stack.push(this.#second[node] as number);
          nodes.push(node);
          break;
        default:
          nodes.push(node);
      }
    }
    return nodes.sort((a, b) => a - b);
  }

  #keep(branch: Branch | undefined, nodes: readonly number[]): State {
    const key = `${branch?.id ?? ''}:${nodes.join()}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const state: State = { branch, nodes, next: new Array<State | undefined>(this.#byteOf.length).fill(undefined), matches: undefined };
    this.#states.set(key, state);
    this.#kept += nodes.length + this.#byteOf.length + key.length / 8;
    return state;
  }
}

function tooLarge(): Error {
  return selinuxError('SELINUX_POLICY_TOO_LARGE', `Cannot read file contexts: their patterns need more than ${MAX_NODES} states`);
}
