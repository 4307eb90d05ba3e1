// x - level, and what rounding took of it (Knuth's two-sum), with the sign turned so that it is a distance.
fn distanceOf(value: f32, level: f32) -> vec2<f32> {
  let difference = keep(value - level);
  let subtracted = keep(difference - value);
  let rest = keep(value - keep(difference - subtracted)) - keep(level + subtracted);
  return select(vec2<f32>(difference, rest), vec2<f32>(-difference, -rest), difference < 0.0);
}

// Which of the four levels from `first` on is nearest to weight i; on a tie the lower level, whatever their order.
fn choiceOf(i: u32, first: u32) -> u32 {
  let value = latent[i];
  var choice = 0u;
  var chosen = levels[first];
  var least = distanceOf(value, chosen);
  for (var c = 1u; c < 4u; c++) {
    let level = levels[first + c];
    let distance = distanceOf(value, level);
    let isTie = distance.x == least.x && distance.y == least.y && level < chosen;
    if (distance.x < least.x || (distance.x == least.x && distance.y < least.y) || isTie) {
      choice = c;
      chosen = level;
      least = distance;
    }
  }
  return choice;
}
