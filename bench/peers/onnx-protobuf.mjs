// Writes ONNX models as protobuf: the few messages of onnx.proto that the benchmark's graphs are made of. A message is a
// Buffer; what is put together here is small but for the weights, which are copied once for each message around them.

/** Of TensorProto.DataType. */
export const TYPE = { float: 1, uint8: 2, int32: 6, int64: 7 };
/** Of AttributeProto.AttributeType, and of the wire: the number's bytes as they are. */
const FLOAT_ATTRIBUTE = 1;
const INT_ATTRIBUTE = 2;
const FIXED32 = 5;
const IR_VERSION = 10;
/** The domain of ONNX Runtime's own operators. */
export const MICROSOFT = 'com.microsoft';

function varint(value) {
  const bytes = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return Buffer.from([...bytes, rest]);
}

const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, value) => {
  const data = Buffer.from(value);
  return Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);
};
const message = (field, ...parts) => bytes(field, Buffer.concat(parts));

/** A float attribute is given as {float}, since 1 could be either; a number is an integer, which is not negative. */
function attribute([name, value]) {
  if (typeof value === 'number') {
    return message(5, bytes(1, name), number(3, value), number(20, INT_ATTRIBUTE));
  }
  const data = Buffer.from(Float32Array.of(value.float).buffer);
  return message(
    5,
    bytes(1, name),
    Buffer.concat([varint(2 * 8 + FIXED32), data]),
    number(20, FLOAT_ATTRIBUTE),
  );
}

/** A node of the graph. @param names inputs and outputs; '' is one that is left out @param domain '' is ONNX's own */
export function node(operator, inputs, outputs, attributes = {}, domain = '') {
  return message(
    1,
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(3, outputs[0]),
    bytes(4, operator),
    ...Object.entries(attributes).map(attribute),
    bytes(7, domain),
  );
}

/** A constant of the graph. @param values a typed array of the type's elements, row-major */
export function initializer(name, type, shape, values) {
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return message(5, ...shape.map((size) => number(1, size)), number(2, type), bytes(8, name), bytes(9, data));
}

function valueInfo(field, { name, type, shape }) {
  const dimensions = shape.map((size) =>
    message(1, typeof size === 'number' ? number(1, size) : bytes(2, size)),
  );
  return message(field, bytes(1, name), message(2, message(1, number(1, type), message(2, ...dimensions))));
}

/**
 * A whole model. @param inputs and outputs are {name, type, shape}, a shape's sizes numbers or names of what may change
 * @param nodes in the order of their run
 */
export function model({ name, nodes, initializers, inputs, outputs }) {
  const graph = message(
    7,
    ...nodes,
    bytes(2, name),
    ...initializers,
    ...inputs.map((value) => valueInfo(11, value)),
    ...outputs.map((value) => valueInfo(12, value)),
  );
  const opset = (domain, version) => message(8, bytes(1, domain), number(2, version));
  return Buffer.concat([number(1, IR_VERSION), graph, opset('', 21), opset(MICROSOFT, 1)]);
}
