"""What several families have in common, a file each: fields of configs, facts of stacks, names of tensors."""
