// Of each weight the level that it chooses among the four of its group.
fn main(index: i32) {
  let i = u32(index);
  if (i >= uniforms.count) {
    return;
  }
  let group = (i / uniforms.columns) * uniforms.groups + (i % uniforms.columns) / uniforms.groupSize;
  result[i] = levels[4u * group + choiceOf(i, 4u * group)];
}
