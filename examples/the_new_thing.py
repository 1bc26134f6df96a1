from orchestrator import flow


@flow
def the_new_thing():
    print("Its gonna be big!")


the_new_thing()
